"""The internal event bus, and Kafka in and out."""
