"""Kafka in and out: readers, the publisher, records, connections, topics."""
