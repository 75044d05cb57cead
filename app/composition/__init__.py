"""The parts of one service, built from the settings: a module for each group of them."""
