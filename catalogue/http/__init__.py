"""The catalogue by HTTP requests to the Items service."""
