"""What a user may do with a topic, and the command that grants the rest.

A broker reports the operations that it allows with a topic's metadata (KIP-430), one bit for each.
Of one that does not, since it is too old or another program, nothing is assumed.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bus.kafka.security import Security

_NOT_REPORTED = -(2**31)


class Operation(IntEnum):
    """Kafka's codes of operations, by the names that `kafka-acls.sh` takes."""

    Read = 3
    Write = 4
    Create = 5
    Describe = 8
    DescribeConfigs = 10


@dataclass(frozen=True, slots=True)
class Need:
    """What we do with a topic.

    Attributes:
        topic: its name.
        operations: without which nothing works.
        wanted: without which a safeguard is missing.
        creates: whether it is created when it is missing.
    """

    topic: str
    operations: tuple[Operation, ...]
    wanted: tuple[Operation, ...] = (Operation.DescribeConfigs,)
    creates: bool = False


def principal(security: Security) -> str:
    """Who we are to the broker, as its access lists name it; a placeholder where that is open."""
    if security.username:
        return f"User:{security.username}"
    if security.mechanism or security.shows_certificate:
        return "User:PRINCIPAL"
    return "User:ANONYMOUS"


def grant(servers: str, security: Security, topic: str, operations: Iterable[Operation]) -> str:
    """The command of Kafka's own tools that allows these operations, and what it does not do."""
    who = principal(security)
    words = [
        f"kafka-acls.sh --bootstrap-server {servers} --add",
        f"--allow-principal {shlex.quote(who)}",
        *(f"--operation {operation.name}" for operation in operations),
        f"--topic {topic}",
    ]
    text = (
        f"`{' '.join(words)}`, run by an administrator, grants it, unless a rule denies it "
        f"(`kafka-acls.sh --bootstrap-server {servers} --list --topic {topic}`)"
    )
    if who == "User:PRINCIPAL":
        source = "token" if security.mechanism else "certificate"
        text += f"; PRINCIPAL stands for the name that the broker derives from our {source}"
    return text


def refused_description(servers: str, security: Security, need: Need) -> str:
    """What is wrong when a broker refuses to describe a topic."""
    create = (Operation.Create,) if need.creates else ()
    everything = (*create, Operation.Describe, *need.operations, *need.wanted)
    return (
        f"{_who(security)} may not describe {need.topic}: the broker answers "
        f"TOPIC_AUTHORIZATION_FAILED. {_names(everything)} are needed on it: "
        f"{grant(servers, security, need.topic, everything)}"
    )


def missing_operations(servers: str, security: Security, need: Need, reported: int) -> str | None:
    """What is wrong with the operations that a broker reports as allowed; None: nothing.

    Args:
        servers: for the command.
        security: who we are.
        need: what we do with the topic.
        reported: one bit for each operation that is allowed.
    """
    # Whoever may not describe a topic is refused, so a report without that is none.
    if reported == _NOT_REPORTED or not _allows(reported, Operation.Describe):
        return None
    missing = [operation for operation in need.operations if not _allows(reported, operation)]
    if not missing:
        return None
    allowed = _names([each for each in Operation if _allows(reported, each)])
    return (
        f"{_who(security)} may not {_names(missing)} on {need.topic}: the broker reports that "
        f"it allows {allowed}. {grant(servers, security, need.topic, missing)}"
    )


def _allows(reported: int, operation: Operation) -> bool:
    return bool(reported & (1 << operation))


def _names(operations: Iterable[Operation]) -> str:
    return ", ".join(operation.name for operation in operations)


def _who(security: Security) -> str:
    return "this user" if principal(security) == "User:PRINCIPAL" else principal(security)
