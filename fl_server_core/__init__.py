"""The rows and their own rules, model files and what may be in them, admin."""
