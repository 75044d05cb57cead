"""The ItemCensor: the actor that takes one item down, and its state machine."""
