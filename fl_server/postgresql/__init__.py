"""Django's backend for PostgreSQL, with one repair; see `base`."""
