"""The reference Items service: the other side of Kafka, with a database of its own.

It shows what takedown expects of the Items service, and stands in for it in the demo and in the
tests. Nothing in takedown imports it but the composition root.
"""
