"""Additions to Django's command line."""
