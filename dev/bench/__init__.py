"""What the service costs, against a bridge that does only the minimum."""
