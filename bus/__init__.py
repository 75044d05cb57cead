"""The internal event bus, and Kafka beside it."""
