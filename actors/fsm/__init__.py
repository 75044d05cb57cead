"""State machines as tables, and actors that run them."""
