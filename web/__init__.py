"""The callers' door and the operators' door."""
