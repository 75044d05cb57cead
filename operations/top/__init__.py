"""`takedown top`: what the admin API shows, at a terminal. Only that command loads it."""
