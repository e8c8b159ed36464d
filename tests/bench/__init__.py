"""Measurements side by side with other implementations: ``python -m tests.bench``."""
