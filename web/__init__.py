"""The public API and the admin API."""
