"""The demo: load, and the reference Items service."""
