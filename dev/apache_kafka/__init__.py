"""Apache Kafka for development and tests: real brokers in KRaft mode, and a proxy for faults.

The service never imports this. `python -m dev.apache_kafka --help` runs brokers by hand.
"""
