"""Actors on the event loop: the actor, its mailbox, futures, timers."""
