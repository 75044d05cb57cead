"""The topics that must exist: created when they are missing, if that is allowed.

A topic that is missing may be one whose name is wrong. Created, it would be empty, and an item that
exists would be unknown. So with servers that were given, a missing topic is an error by default,
which names what to do.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiokafka.admin import NewTopic
from aiokafka.errors import (
    KafkaError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    for_code,
)

from bus.kafka.aiokafka_fixes import hearing
from bus.kafka.permissions import Operation, grant
from domain.errors import KafkaUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bus.kafka.connection import Connection

logger = logging.getLogger("takedown.kafka")

BROKER_DEFAULT = -1


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it is created when it is missing; one that exists is never changed.

    Attributes:
        name: its name.
        partitions: how many.
        replication: how many copies; `BROKER_DEFAULT` leaves it to the broker.
        config: its settings, such as `cleanup.policy`.
        setting: the variable that names it; empty if none does.
    """

    name: str
    partitions: int
    replication: int = BROKER_DEFAULT
    config: Mapping[str, str] = field(default_factory=dict)
    setting: str = ""

    def command(self, bootstrap_servers: str) -> str:
        """The command of Kafka's own tools that creates it."""
        words = [
            f"kafka-topics.sh --bootstrap-server {bootstrap_servers} --create",
            f"--topic {self.name} --partitions {self.partitions}",
        ]
        if self.replication != BROKER_DEFAULT:
            words.append(f"--replication-factor {self.replication}")
        words += [f"--config {name}={value}" for name, value in sorted(self.config.items())]
        return " ".join(words)


class Topics:
    """The topics that must be there.

    Args:
        connection: how Kafka is reached.
        topics: as they are created when they are missing.
        timeout: seconds until Kafka must have answered.
        create: whether missing topics are created; otherwise a missing one is an error.
    """

    def __init__(
        self,
        connection: Connection,
        topics: Sequence[Topic],
        *,
        timeout: float = 10.0,
        create: bool = True,
    ) -> None:
        self._connection = connection
        self._topics = topics
        self._timeout = timeout
        self._create = create
        self._lock = asyncio.Lock()

    async def ensure(self) -> tuple[str, ...]:
        """Create those that do not exist; returns the names of those it created.

        Raises:
            KafkaUnavailable: Kafka cannot be reached, did not answer in time, does not let us, or
                a topic is missing and must not be created.
        """
        async with self._lock:  # several parts of one service want this at the same time
            return await ensure_topics(
                self._connection, self._topics, timeout=self._timeout, create=self._create
            )


async def ensure_topics(
    connection: Connection,
    topics: Sequence[Topic],
    *,
    timeout: float = 10.0,
    create: bool = True,
) -> tuple[str, ...]:
    """Create those of `topics` that do not exist; returns the names of those it created.

    Raises:
        KafkaUnavailable: Kafka cannot be reached, did not answer within `timeout` seconds, or
            does not let us; or without `create`: a topic does not exist, and the text says what
            to do.
    """
    with hearing() as cause:
        try:
            async with asyncio.timeout(timeout):
                return await _ensure(connection, topics, create=create)
        except TimeoutError:
            silence = f"no answer about topics within {timeout:g} s"
            raise KafkaUnavailable(cause.instead_of(silence)) from None
        except (KafkaError, OSError) as error:
            reason = cause.instead_of(connection.security.doubt or error)
            raise KafkaUnavailable(f"topics cannot be looked up: {reason}") from error


async def _ensure(
    connection: Connection, topics: Sequence[Topic], *, create: bool
) -> tuple[str, ...]:
    admin = connection.clients.admin(**connection.client_options("topics"))
    try:
        await admin.start()
        # Listed, not asked for by name: a question about a topic creates it on some brokers.
        existing = set(await admin.list_topics())
        missing = [topic for topic in topics if topic.name not in existing]
        if not missing:
            return ()
        if not create:
            raise KafkaUnavailable(_what_is_missing(missing, connection.bootstrap_servers))
        response = await admin.create_topics(
            [
                NewTopic(
                    topic.name,
                    topic.partitions,
                    topic.replication,
                    # Without this aiokafka refuses -1, the broker's default.
                    replica_assignments={} if topic.replication == BROKER_DEFAULT else None,
                    topic_configs=dict(topic.config),
                )
                for topic in missing
            ]
        )
        created = []
        for name, code, *rest in response.topic_errors:
            error = for_code(code)
            if error is TopicAlreadyExistsError:
                continue  # another program was faster
            if code:
                reason = (rest[0] if rest else None) or error.description
                if error is TopicAuthorizationFailedError:
                    servers, security = connection.bootstrap_servers, connection.security
                    command = grant(servers, security, name, [Operation.Create])
                    reason = f"{reason.rstrip('.')}; {command}"
                raise KafkaUnavailable(f"topic {name} cannot be created: {reason}")
            created.append(name)
        if created:
            logger.info("Created missing topics: %s", ", ".join(created))
        return tuple(created)
    finally:
        await admin.close()


def _what_is_missing(missing: Sequence[Topic], bootstrap_servers: str) -> str:
    """One line: which topics, under which settings, and how each is created."""
    names = [
        f"{topic.name} ({topic.setting})" if topic.setting else topic.name for topic in missing
    ]
    commands = [f"`{topic.command(bootstrap_servers)}`" for topic in missing]
    subject = "topic is missing" if len(missing) == 1 else "topics are missing"
    pronoun = "it" if len(missing) == 1 else "them"
    return (
        f"{subject}, or may not be described by this user: {', '.join(names)}; if the name is "
        f"right, create {pronoun} by {' and '.join(commands)}, or set TAKEDOWN_TOPICS_CREATE=true"
    )
