"""`takedown top`: what the operators' door shows, at a terminal. Only that command loads it."""
