"""Finds out why Kafka cannot be used: which server, at which step, and what to change.

The servers of the settings are tried first. One that answers is asked for the cluster's metadata,
which needs the login. Then each broker is tried at the address that the metadata names; and the
metadata says what we may do with our topics. aiokafka does the login and the metadata,
`bus.kafka.handshake` the rest.

Nothing here runs while Kafka works: see `bus.kafka.first_contact`.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiokafka.conn import create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
)

from bus.kafka.advice import Tried, advice, shortened
from bus.kafka.closer_look import closer_look
from bus.kafka.handshake import Failure, Kind, Server, offered_logins, shake_hands
from bus.kafka.metadata_request import MetadataRequest, MetadataResponse_v12
from bus.kafka.permissions import missing_operations, refused_description

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from bus.kafka.connection import Connection
    from bus.kafka.permissions import Need

_SERVERS = 8
"""Servers of the settings that are tried at most; the same for brokers of the metadata."""
_ASKED = 2
"""Servers that are asked for metadata at most, one after the other."""
_SAME_EVERYWHERE = frozenset({Kind.LOGIN, Kind.LOGIN_NEEDED, Kind.TOKEN})
_NAMED = 3
"""Servers that are described at most; of the others, only their number is told."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found.

    Attributes:
        problem: why Kafka cannot be used; empty if nothing was found.
        partial: it concerns some of the brokers only, so it need not be why something fails.
        topics: what is wrong with our permissions, by topic.
    """

    problem: str = ""
    partial: bool = False
    topics: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Cluster:
    by: Server
    brokers: tuple[tuple[int, Server], ...]
    topics: Mapping[str, tuple[int, int]]


async def diagnose(
    connection: Connection, needs: Sequence[Need], *, patience: float = 1.5
) -> Diagnosis:
    """Try to reach Kafka as the service does, and say what fails; raises nothing of that.

    Args:
        connection: how Kafka is reached.
        needs: what is done with which topics.
        patience: seconds for each step. All of it takes at most some six times as long.
    """
    servers = _servers(connection.bootstrap_servers)
    tried = await asyncio.gather(*(_try(server, connection, patience) for server in servers))
    failures = dict(zip(servers, tried, strict=True))
    answering = [server for server in servers if failures[server] is None]
    for server in answering[:_ASKED]:
        try:
            cluster = await _metadata(server, connection, needs, patience)
        except Failure as failure:
            failures[server] = failure
            if failure.kind in _SAME_EVERYWHERE:
                break
        else:
            return await _examine(cluster, connection, needs, patience)
    failed = [(Tried(each), failure) for each, failure in failures.items() if failure is not None]
    return Diagnosis(await _in_words(failed, connection))


async def _in_words(
    failed: Sequence[tuple[Tried, Failure]], connection: Connection, by: Server | None = None
) -> str:
    if not failed:
        return ""
    # It may read certificates' files.
    text = await asyncio.to_thread(advice, failed[:_NAMED], connection.security, by=by)
    more = f" ({len(failed) - _NAMED} more fail)" if len(failed) > _NAMED else ""
    return shortened(text) + more


async def _try(server: Server, connection: Connection, patience: float) -> Failure | None:
    try:
        await shake_hands(server, connection.security, within=patience)
    except Failure as failure:
        return await closer_look(server, connection.security, failure)
    return None


def _servers(text: str) -> list[Server]:
    servers = []
    for each in text.split(",")[:_SERVERS]:
        host, _, port = each.strip().rpartition(":")
        servers.append(Server(host.strip("[]"), int(port)))
    return servers


# --------------------------------------------------------------------------- with the metadata


async def _examine(
    cluster: _Cluster, connection: Connection, needs: Sequence[Need], patience: float
) -> Diagnosis:
    topics = _permissions(cluster, connection, needs)
    # The server that gave the metadata was reached at its own address.
    others = [(node, server) for node, server in cluster.brokers if server != cluster.by]
    tried = await asyncio.gather(
        *(_try(server, connection, patience) for _, server in others[:_SERVERS])
    )
    failed = [
        (Tried(server, node), failure)
        for (node, server), failure in zip(others, tried, strict=False)
        if failure is not None
    ]
    partial = len(failed) < len(cluster.brokers)
    return Diagnosis(await _in_words(failed, connection, cluster.by), partial, topics)


def _permissions(
    cluster: _Cluster, connection: Connection, needs: Sequence[Need]
) -> dict[str, str]:
    found = {}
    servers, security = connection.bootstrap_servers, connection.security
    for need in needs:
        code, allowed = cluster.topics.get(need.topic, (0, 0))
        problem = None
        if code == TopicAuthorizationFailedError.errno:
            problem = refused_description(servers, security, need)
        elif code == 0:
            problem = missing_operations(servers, security, need, allowed)
        if problem is not None:
            found[need.topic] = shortened(problem)
    return found


async def _metadata(
    server: Server, connection: Connection, needs: Sequence[Need], patience: float
) -> _Cluster:
    """The cluster's metadata, after the login.

    Raises:
        Failure: it cannot be had.
    """
    security = connection.security
    try:
        async with asyncio.timeout(patience + 0.5), _logged_in(server, connection) as conn:
            response = await conn.send(
                MetadataRequest((need.topic for need in needs), operations=True)
            )
    except AuthenticationFailedError as error:  # of `TokenFile`: there is none
        raise Failure(Kind.TOKEN, str(error)) from None
    except SaslAuthenticationFailed as error:
        text = str(error.args[0]) if error.args else type(error).__name__
        raise Failure(Kind.LOGIN, f"it refuses the login: {text}") from None
    except TimeoutError:
        raise Failure(Kind.SILENT, "it speaks Kafka, and does not answer in time") from None
    except (KafkaError, OSError, RuntimeError, ValueError, AssertionError) as error:
        if not security.mechanism and (
            mechanisms := await offered_logins(server, security.tls, within=1)
        ):
            seen = f"it closes a connection without a login; it offers: {', '.join(mechanisms)}"
            raise Failure(Kind.LOGIN_NEEDED, seen, mechanisms=mechanisms) from None
        seen = f"it speaks Kafka, and closes the connection ({error})"
        kind = Kind.LOGIN if security.tokens is not None else Kind.CLOSED
        raise Failure(kind, seen) from None
    return _Cluster(
        server,
        tuple((node, Server(host, port)) for node, host, port, *_ in response.brokers),
        {
            # Before version 12 nothing is said of permissions.
            name: (code, rest[-2] if isinstance(response, MetadataResponse_v12) else 0)
            for code, name, *rest in response.topics or ()
        },
    )


@contextlib.asynccontextmanager
async def _logged_in(server: Server, connection: Connection) -> AsyncIterator[Any]:
    options = connection.client_options("first-contact")
    del options["bootstrap_servers"], options["metadata_max_age_ms"]
    conn = await create_conn(server.host, server.port, **options)
    try:
        yield conn
    finally:
        await conn.close()
