"""The whole service in a simulated world, from one seed: thousands of lives in a minute.

Real: `Service` with its servers, coordinator, pool, supervision, censors, bus, codec, catalogue,
readers and publisher. Simulated: the clock, the network, Kafka, the Items service, the callers, and
whatever is random. The same seed gives the same run.
"""
