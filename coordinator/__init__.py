"""The coordinator: the parent of all censors, their pool, and their supervision."""
