"""Several processes on one port: who starts them, watches them, and speaks for all of them."""
