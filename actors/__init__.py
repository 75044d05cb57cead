"""Actors on the event loop, the state machine kit, and the ItemCensor."""
