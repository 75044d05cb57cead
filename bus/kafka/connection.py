"""How Kafka is reached: one place for what every client of it needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from bus.kafka.aiokafka_fixes import mend
from bus.kafka.auto_creation import create_no_topics
from bus.kafka.security import Security

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Clients:
    """What makes clients, of keyword options; the simulation puts its own here.

    Attributes:
        consumer: makes a consumer.
        producer: makes a producer.
        admin: makes an admin client.
        sockets: whether they use real connections, so that a failure can be looked into.
    """

    consumer: Callable[..., Any] = AIOKafkaConsumer
    producer: Callable[..., Any] = AIOKafkaProducer
    admin: Callable[..., Any] = AIOKafkaAdminClient
    sockets: bool = True


@dataclass(frozen=True, slots=True)
class Connection:
    """Where Kafka is, and how long its clients wait for it.

    Attributes:
        bootstrap_servers: comma-separated `host:port` list.
        client_id: what the broker's logs, metrics and quotas call us.
        request_timeout: seconds until a request to a broker is given up.
        fetch_max_wait: seconds a broker may hold a fetch back while there is nothing new.
            Apache Kafka answers at once when something comes; the embedded broker does not,
            and needs a short time here.
        metadata_max_age: seconds after which the list of partitions is looked up again.
        security: what is shown to Kafka and demanded of it.
        clients: what makes the clients.
    """

    bootstrap_servers: str
    client_id: str = "takedown"
    request_timeout: float = 10.0
    fetch_max_wait: float = 0.5
    metadata_max_age: float = 5.0
    security: Security = field(default_factory=Security)
    clients: Clients = field(default_factory=Clients)

    def client_options(self, role: str = "") -> dict[str, Any]:
        """Options that every aiokafka client takes; what is wrong with them all is mended here.

        Args:
            role: what this client is for; it tells one program's clients apart at the broker.
        """
        mend()
        create_no_topics()
        return {
            "bootstrap_servers": self.bootstrap_servers,
            "client_id": f"{self.client_id}-{role}" if role else self.client_id,
            "request_timeout_ms": round(self.request_timeout * 1000),
            "metadata_max_age_ms": round(self.metadata_max_age * 1000),
            **self.security.client_options(),
        }
