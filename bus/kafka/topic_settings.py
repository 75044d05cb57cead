"""Topic settings that could make an answer wrong, read from the broker (DescribeConfigs).

`item_published` must retain every item's last list. With `cleanup.policy=delete`, which Kafka's own
creation of topics results in, records older than the retention are deleted, and a catalogue that is
read from what is left gives a 404 for items that exist. So the service is not ready until the
settings are known to be right, or known to be unreadable.

- Both brokers are asked for all settings of a topic: the embedded broker closes the connection when
  it is asked for some by name. It reports only those that were given when the topic was created.
- The broker may refuse to report them (a permission), or not answer. Then the check is a missing
  safeguard and does not keep the service from being ready. An answer that was received before is
  still trusted when later requests are not answered, but not when they are refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    IncompatibleBrokerVersion,
    KafkaError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)

from bus.kafka.permissions import Operation, grant

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bus.kafka.connection import Connection
    from bus.kafka.safeguards import Safeguards

logger = logging.getLogger("takedown.kafka")

UNLIMITED = -1
_ATTEMPTS = 3
"""Requests without an answer, one after the other, until the settings count as unreadable."""
_RETRY = 1.0
_SPARE = 60.0
"""Seconds that a request or a deletion must be retained beyond the deadline."""
_REFUSALS: tuple[type[KafkaError], ...] = (
    TopicAuthorizationFailedError,
    ClusterAuthorizationFailedError,
    IncompatibleBrokerVersion,
)


@dataclass(frozen=True, slots=True)
class TopicSettings:
    """Settings of one topic; None for each that the broker does not report.

    Attributes:
        cleanup_policy: `compact`, `delete`, or both.
        retention_ms: milliseconds after which `delete` deletes; `UNLIMITED`: never.
        retention_bytes: of a partition, beyond which `delete` deletes; `UNLIMITED`: never.
        delete_retention_ms: milliseconds for which `compact` retains a null value.
        max_message_bytes: the size of the largest batch that the topic accepts.
    """

    cleanup_policy: frozenset[str] | None = None
    retention_ms: int | None = None
    retention_bytes: int | None = None
    delete_retention_ms: int | None = None
    max_message_bytes: int | None = None

    @property
    def compacts(self) -> bool:
        """Whether older records of a key are removed."""
        return "compact" in (self.cleanup_policy or ())

    def limit(self) -> str | None:
        """The settings by which old records are deleted, as text; None if none are."""
        if "delete" not in (self.cleanup_policy or ()):
            return None
        limits = {"retention.ms": self.retention_ms, "retention.bytes": self.retention_bytes}
        found = [f"{name}={at}" for name, at in limits.items() if at not in {UNLIMITED, None}]
        if not found:
            return None
        return ", ".join([f"cleanup.policy={','.join(sorted(self.cleanup_policy or ()))}", *found])


Answer: TypeAlias = TopicSettings | KafkaError
"""Of one topic: its settings, or why the broker does not report them."""


async def read_settings(
    connection: Connection, topics: Sequence[str], *, timeout: float
) -> Mapping[str, Answer]:
    """Ask any broker for the settings of these topics.

    Raises:
        KafkaError, OSError, TimeoutError: there was no answer within `timeout` seconds.
    """
    async with asyncio.timeout(timeout):
        admin = connection.clients.admin(**connection.client_options("topic-settings"))
        try:
            await admin.start()
            responses = await admin.describe_configs(
                [ConfigResource(ConfigResourceType.TOPIC, topic) for topic in topics]
            )
        finally:
            await admin.close()
    return {
        name: _settings(entries) if code == 0 else for_code(code)(message or name)
        for response in responses
        for code, message, _, name, entries in response.resources
    }


def _settings(entries: Sequence[Sequence[Any]]) -> TopicSettings:
    values: dict[str, str] = {name: value for name, value, *_ in entries if value is not None}
    policy = values.get("cleanup.policy")
    return TopicSettings(
        None if policy is None else frozenset(each.strip() for each in policy.split(",")),
        _number(values.get("retention.ms")),
        _number(values.get("retention.bytes")),
        _number(values.get("delete.retention.ms")),
        _number(values.get("max.message.bytes")),
    )


def _number(text: str | None) -> int | None:
    with contextlib.suppress(ValueError, TypeError):
        return int(text)  # type: ignore[arg-type] # None is a TypeError
    return None


class TopicChecks:
    """Checks the settings of the topics of one service, from time to time.

    Args:
        connection: how Kafka is reached.
        published: the topic with the items' lists; None if the catalogue is not read from it.
        events: the topics with requests and deletions, which must retain each record for a while.
        safeguards: is told what the broker does not report, and which settings are doubtful.
        deadline: seconds that a takedown may take.
        may_expire: whether items older than the retention of `published` count as gone.
        on_read: receives each topic's settings whenever they were read.
        interval: seconds between two checks.
        timeout: seconds until a request is given up.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        published: str | None,
        events: Sequence[str],
        safeguards: Safeguards,
        deadline: float,
        may_expire: bool = False,
        on_read: Callable[[str, TopicSettings], object] = lambda _topic, _settings: None,
        interval: float = 60.0,
        timeout: float = 3.0,
    ) -> None:
        self._connection = connection
        self._published = published
        self._events = tuple(events)
        self._safeguards = safeguards
        self._deadline = deadline
        self._may_expire = may_expire
        self._on_read = on_read
        self._interval = interval
        self._timeout = timeout
        self._soon = asyncio.Event()
        self._known = asyncio.Event()
        self._settings: TopicSettings | None = None
        self._refused = False
        self._unanswered = 0
        self._error = ""

    # ------------------------------------------------------------------------- results

    def why_not_ready(self) -> str | None:
        """What is wrong with the settings of `published`, or None. It asks no broker."""
        if self._published is None or self._refused:
            return None
        if self._settings is not None:
            return self._problem(self._published, self._settings)
        if self._unanswered >= _ATTEMPTS:
            return None
        cause = f": {self._error}" if self._error else ""
        return f"the settings of {self._published} are not known yet{cause}"

    def delete_retention(self) -> float | None:
        """Seconds for which `published` retains a null value; None if that is not known."""
        if self._settings is None or self._settings.delete_retention_ms is None:
            return None
        return self._settings.delete_retention_ms / 1000

    def _problem(self, topic: str, settings: TopicSettings) -> str | None:
        limit = settings.limit()
        if limit is None or self._may_expire:
            return None
        return (
            f"{topic} deletes old records ({limit}), so items that exist would be unknown; "
            f"`kafka-configs.sh --bootstrap-server {self._connection.bootstrap_servers} --alter "
            f"--entity-type topics --entity-name {topic} --add-config cleanup.policy=compact` "
            "ends that (publish again what was deleted already), or set "
            "TAKEDOWN_CATALOGUE_MAY_EXPIRE=true if such items count as gone"
        )

    # ------------------------------------------------------------------------- checking

    def check_soon(self) -> None:
        """Check without waiting for the interval: Kafka was found (again)."""
        self._unanswered = 0
        self._soon.set()

    def read_again(self) -> None:
        """Read without waiting for the interval: a setting may have changed."""
        self._soon.set()

    async def until_known(self) -> None:
        """Wait until the settings are known, or count as unreadable; `run` must be running."""
        await self._known.wait()

    async def run(self) -> None:
        """Check whenever it is due, until cancelled. Begins with the first `check_soon`."""
        await self._soon.wait()
        while True:
            self._soon.clear()
            await self._check()
            known = self._settings is not None or self._refused or self._published is None
            settled = known or self._unanswered >= _ATTEMPTS
            if settled:
                self._known.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval if settled else _RETRY):
                    await self._soon.wait()

    async def _check(self) -> None:
        topics = [*([self._published] if self._published else []), *self._events]
        try:
            answers = await read_settings(self._connection, topics, timeout=self._timeout)
        except IncompatibleBrokerVersion as error:
            answers = dict.fromkeys(topics, error)
        except (KafkaError, OSError, TimeoutError) as error:
            text = "no answer" if isinstance(error, TimeoutError) else str(error)
            self._not_answered(topics, text or type(error).__name__)
            return
        except Exception:
            logger.exception("Defect while reading the topics' settings")
            self._not_answered(topics, "a defect, see the log")
            return
        self._received(answers)

    def _not_answered(self, topics: Sequence[str], why: str) -> None:
        self._unanswered += 1
        self._error = why
        if self._unanswered >= _ATTEMPTS:
            for topic in topics:
                self._unreadable(topic, why)

    def _received(self, answers: Mapping[str, Answer]) -> None:
        if not isinstance(answers.get(self._published or ""), KafkaError):
            self._unanswered = 0
        for topic, answer in answers.items():
            if isinstance(answer, TopicSettings):
                self._safeguards.present(_readable(topic))
                self._on_read(topic, answer)
                if topic == self._published:
                    self._settings, self._refused, self._error = answer, False, ""
                    self._judge_catalogue(topic, answer)
                else:
                    self._judge_events(topic, answer)
            elif isinstance(answer, _REFUSALS):
                self._unreadable(topic, self._refusal(topic, answer))
                if topic == self._published:
                    self._settings, self._refused = None, True
            elif topic == self._published:
                # A topic that does not exist is reported by those that use it.
                missing = isinstance(answer, UnknownTopicOrPartitionError)
                self._unanswered = 0 if missing else self._unanswered + 1
                self._error = f"{topic}: {_words(answer)}"
                if self._unanswered >= _ATTEMPTS:
                    self._unreadable(topic, self._error)

    def _refusal(self, topic: str, error: KafkaError) -> str:
        if not isinstance(error, TopicAuthorizationFailedError):
            return _words(error)
        servers, security = self._connection.bootstrap_servers, self._connection.security
        words = _words(error).rstrip(".")
        return f"{words}; {grant(servers, security, topic, [Operation.DescribeConfigs])}"

    def _unreadable(self, topic: str, why: str) -> None:
        self._safeguards.missing(
            _readable(topic),
            f"the broker does not report them ({why}); nothing shows whether it deletes records "
            "that are needed",
        )

    def _judge_catalogue(self, topic: str, settings: TopicSettings) -> None:
        name = f"{topic}: cleanup.policy"
        if settings.cleanup_policy is None:
            self._safeguards.missing(
                name, "the broker does not report it; with `delete`, old items would be unknown"
            )
        else:
            self._safeguards.present(name)

    def _judge_events(self, topic: str, settings: TopicSettings) -> None:
        name = f"{topic}: cleanup.policy"
        if settings.compacts:
            self._safeguards.missing(
                name,
                "it has `compact`: an item's records have the same key, so of several containers "
                "only the last record may be left when it is read; set cleanup.policy=delete",
            )
        else:
            self._safeguards.present(name)
        name = f"{topic}: retention.ms"
        least = round((self._deadline + _SPARE) * 1000)
        retention = settings.retention_ms
        deletes = "delete" in (settings.cleanup_policy or ())
        if deletes and retention is not None and UNLIMITED < retention < least:
            self._safeguards.missing(
                name,
                f"it is {retention}: records may be deleted before they are read; set it to "
                f"{least} or more",
            )
        else:
            self._safeguards.present(name)


def _words(error: KafkaError) -> str:
    return getattr(error, "description", "") or str(error) or type(error).__name__


def _readable(topic: str) -> str:
    return f"{topic}: settings"
