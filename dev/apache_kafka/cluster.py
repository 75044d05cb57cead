"""Clusters of real Apache Kafka brokers on the loopback interface."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import logging
import os
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.admin import CreateAclsRequest

from dev.apache_kafka import jars
from dev.apache_kafka.broker_properties import broker_properties
from dev.apache_kafka.listeners import (
    Listener,
    authorizer_properties,
    free_listeners,
    login_properties,
    tls_properties,
)
from dev.apache_kafka.node import Node
from dev.apache_kafka.ports import HOST, accepts_connections, free_ports
from dev.apache_kafka.proxy import FaultProxy
from domain.errors import BrokerStartError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
    from types import TracebackType

    from dev.apache_kafka.listeners import Tls

logger = logging.getLogger("takedown.apache_kafka")

_POLL = 0.02
_ASK_TIMEOUT = 2.0
_ACL_TOPIC, _ACL_CLUSTER, _ACL_LITERAL, _ACL_DENY, _ACL_ALLOW = 2, 4, 3, 2, 3
_ACL_CLUSTER_NAME = "kafka-cluster"
_ACL_OPERATIONS = {
    "all": 2,
    "read": 3,
    "write": 4,
    "create": 5,
    "describe": 8,
    "describe_configs": 10,
}

_runs = itertools.count(1)


class ApacheKafka:
    """One broker or a cluster, each broker a Java process that is its own controller.

    It does not belong to an event loop: a fixture of a whole session may start it, and tests
    with loops of their own may stop and start its brokers. It never outlives this process.

    Args:
        brokers: how many; their ids count from 1.
        port: of the first broker's `PLAINTEXT` listener, the others' follow; 0 takes free ones.
        folder: keeps data and logs there, over this object's life; without it they are in a new
            folder below `.kafka/` that `stop` removes.
        properties: further settings of every broker; they win over ours.
        tls: opens the listeners `SSL` and `SASL_SSL` with these files.
        users: names and passwords that may log in by SCRAM, at `SASL_PLAINTEXT`, which they open,
            and at `SASL_SSL`.
        access_lists: lets `deny` forbid a user something.
        heap_mb: each broker's heap.
        java_options: further options of each broker's Java.
        start_timeout: seconds until everything must answer.
        stop_timeout: seconds until a broker that does not stop is killed.
    """

    def __init__(
        self,
        *,
        brokers: int = 1,
        port: int = 0,
        folder: Path | None = None,
        properties: Mapping[str, str] | None = None,
        tls: Tls | None = None,
        users: Mapping[str, str] | None = None,
        access_lists: bool = False,
        heap_mb: int = 256,
        java_options: Sequence[str] = (),
        start_timeout: float = 60.0,
        stop_timeout: float = 10.0,
    ) -> None:
        self._keep = folder is not None
        self._folder = folder or jars.HOME / f"run-{os.getpid()}-{next(_runs)}"
        self._extra = dict(properties or {})
        self._tls = tls
        self._users = dict(users or {})
        self._access_lists = access_lists
        self._java_options = tuple(java_options)
        self._start_timeout = start_timeout
        self._nodes = {
            node_id: Node(
                node_id,
                self._folder / f"node-{node_id}",
                free_listeners(
                    tls=tls is not None,
                    login=bool(users),
                    port=port + node_id - 1 if port else 0,
                ),
                heap_mb=heap_mb,
                stop_timeout=stop_timeout,
            )
            for node_id in range(1, brokers + 1)
        }

    # ------------------------------------------------------------------ what is where

    @property
    def nodes(self) -> tuple[int, ...]:
        """The brokers' ids."""
        return tuple(self._nodes)

    @property
    def bootstrap_servers(self) -> str:
        """The advertised addresses of `PLAINTEXT`, as a comma list."""
        return self.bootstrap(Listener.PLAINTEXT)

    def bootstrap(self, listener: Listener) -> str:
        """The advertised addresses of a listener, as a comma list."""
        return ",".join(self.advertised(node, listener) for node in self._nodes)

    def address(self, node: int, listener: Listener = Listener.PLAINTEXT) -> str:
        """`host:port` where a broker really listens."""
        return self._nodes[node].listeners.address(listener)

    def advertised(self, node: int, listener: Listener = Listener.PLAINTEXT) -> str:
        """`host:port` where a broker says that it listens."""
        return self._nodes[node].listeners.advertised_address(listener)

    def advertise(self, node: int, address: str, listener: Listener = Listener.PLAINTEXT) -> None:
        """Have a broker name another `host:port`; it holds from its next start."""
        self._nodes[node].listeners.advertised[listener] = address

    def log(self, node: int) -> Path:
        """The file a broker writes its log into."""
        return self._nodes[node].log

    def pid(self, node: int) -> int | None:
        """A broker's process, while it runs."""
        return self._nodes[node].pid

    # ------------------------------------------------------------------ the whole cluster

    async def start(self) -> None:
        """Download what is missing, format the storage, start all and wait until they answer.

        Raises:
            BrokerStartError: it did not come up; the message has the end of the broker's log.
        """
        await asyncio.to_thread(_tidy_up)
        if not jars.downloaded():
            await asyncio.to_thread(jars.download)
        for node in self._nodes.values():
            for name, port in node.listeners.ports.items():
                if accepts_connections(port):
                    raise BrokerStartError(f"{name} of node {node.node_id}: port {port} is in use")
        # Kafka writes it in the base64 for addresses; Kafka's own tool takes one that starts with
        # a hyphen for an option.
        cluster_id = base64.b64encode(uuid.uuid4().bytes, altchars=b"AB").decode().rstrip("=")
        scram = [
            f"{mechanism}=[name={name},password={password}]"
            for name, password in self._users.items()
            for mechanism in ("SCRAM-SHA-512", "SCRAM-SHA-256")
        ]
        try:
            await asyncio.gather(
                *(
                    node.format(cluster_id, self._properties(node), scram)
                    for node in self._nodes.values()
                )
            )
            for node in self._nodes.values():
                node.start(self._properties(node), self._java_options)
            await self.until_ready()
        except BaseException:
            self._keep = self._keep or self._worth_keeping()
            await self.stop()
            raise
        logger.info("Apache Kafka listens on %s", self.bootstrap_servers)

    async def stop(self) -> None:
        """End all brokers. They may be ended already."""
        # Whose data nobody will read need not be told goodbye.
        if self._keep:
            await asyncio.gather(*(n.stop() for n in self._nodes.values()))
        else:
            await asyncio.gather(*(node.kill() for node in self._nodes.values()))
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def until_ready(self) -> None:
        """Wait until every broker that runs answers and knows of all the others that run.

        Raises:
            BrokerStartError: one ended, or they were not ready in time.
        """
        waiting = {node.node_id for node in self._nodes.values() if node.pid and not node.paused}
        needed = frozenset(waiting)
        try:
            async with asyncio.timeout(self._start_timeout):
                while waiting:
                    for node_id in sorted(waiting):
                        if await self._knows(node_id) >= needed:
                            waiting.discard(node_id)
                    if waiting:
                        await asyncio.sleep(_POLL)
        except TimeoutError:
            node = self._nodes[min(waiting)]
            raise BrokerStartError(
                f"node {node.node_id} was not ready within {self._start_timeout:g} s; "
                f"the end of its log:\n{node.log_tail()}"
            ) from None

    # ------------------------------------------------------------------ one broker

    async def kill(self, node: int) -> None:
        """End a broker as a power cut does."""
        await self._nodes[node].kill()

    async def stop_node(self, node: int) -> None:
        """End a broker in good order: it hands its partitions over first."""
        await self._nodes[node].stop()

    async def restart(
        self, node: int, *, port: int | None = None, listener: Listener = Listener.PLAINTEXT
    ) -> None:
        """Start a broker again, on its data; one that runs is stopped in good order before.

        Args:
            node: its id.
            port: where `listener` is from now on; 0 takes a free one; None leaves it.
            listener: the one that moves.
        """
        await self.start_nodes([node], port=port, listener=listener)

    async def start_nodes(
        self,
        nodes: Iterable[int],
        *,
        port: int | None = None,
        listener: Listener = Listener.PLAINTEXT,
    ) -> None:
        """Start several brokers again, together, as `restart` does with one.

        Two of three that were killed come back only so: alone, each waits for a quorum.
        """
        chosen = [self._nodes[node] for node in nodes]
        for node in chosen:
            await node.stop()
            if port is not None:
                node.listeners.ports[listener] = port or free_ports(1)[0]
        for node in chosen:
            node.start(self._properties(node), self._java_options)
        await self.until_ready()

    def pause(self, node: int) -> None:
        """Let a broker hang (SIGSTOP): its connections stay, and nothing answers."""
        self._nodes[node].pause()

    def resume(self, node: int) -> None:
        """Let a paused broker go on."""
        self._nodes[node].resume()

    # ------------------------------------------------------------------ faults and rights

    @contextlib.asynccontextmanager
    async def proxies(self) -> AsyncIterator[dict[int, FaultProxy]]:
        """A proxy in front of each broker's `PROXIED` listener, at the address it advertises.

        Clients that start from `bootstrap(Listener.PROXIED)` then have all their connections
        behind them; those of `bootstrap_servers` and the brokers' own are not touched.
        """
        async with contextlib.AsyncExitStack() as stack:
            found = {}
            for node in self._nodes:
                _, port = self.advertised(node, Listener.PROXIED).split(":")
                proxy = FaultProxy(self.address(node, Listener.PROXIED), port=int(port))
                found[node] = await stack.enter_async_context(proxy)
            yield found

    async def deny(self, user: str, topic: str, operation: str = "all") -> None:
        """Forbid a user something on a topic; `access_lists` must be on.

        Kafka forbids everything else on the topic with it, to everybody who is not allowed it by
        `allow`: who is on no list may do what he likes only where there is no list.

        Args:
            user: as it logs in.
            topic: its name; it need not exist.
            operation: `all`, `read`, `write`, `create`, `describe` or `describe_configs`.
        """
        await self._list(_ACL_TOPIC, topic, user, operation, _ACL_DENY)

    async def allow(self, user: str, topic: str, operation: str = "all") -> None:
        """Allow a user something on a topic, with the arguments of `deny`, which wins."""
        await self._list(_ACL_TOPIC, topic, user, operation, _ACL_ALLOW)

    async def deny_on_cluster(self, user: str, operation: str) -> None:
        """Forbid a user something that concerns no topic in particular, such as to `create` any."""
        await self._list(_ACL_CLUSTER, _ACL_CLUSTER_NAME, user, operation, _ACL_DENY)

    async def _list(self, kind: int, name: str, user: str, operation: str, permission: int) -> None:
        request = CreateAclsRequest(
            *(kind, name, _ACL_LITERAL, f"User:{user}", "*"),
            *(_ACL_OPERATIONS[operation], permission),
        )
        client = self._client(self.bootstrap(Listener.INTERNAL))
        try:
            await client.bootstrap()
            response = await client.send(client.get_random_node(), request)
            for code, message in response.creation_responses:
                if code:
                    raise BrokerStartError(f"access list refused: {for_code(code)()} {message}")
        finally:
            await client.close()

    # ------------------------------------------------------------------ inside

    def _properties(self, node: Node) -> dict[str, str]:
        nodes = self._nodes.values()
        voters = ",".join(f"{n.node_id}@{HOST}:{n.listeners.controller}" for n in nodes)
        return (
            broker_properties(node, voters=voters, brokers=len(self._nodes))
            | node.listeners.properties()
            | (tls_properties(self._tls) if self._tls is not None else {})
            | (login_properties() if self._users else {})
            | (authorizer_properties() if self._access_lists else {})
            | self._extra
        )

    async def _knows(self, node_id: int) -> frozenset[int]:
        """The brokers that one broker tells clients about; none as long as it cannot answer."""
        node = self._nodes[node_id]
        if not node.running:
            raise BrokerStartError(
                f"node {node_id} ended with status {node.exit_status}; "
                f"the end of its log:\n{node.log_tail()}"
            )
        if not accepts_connections(node.listeners.ports[Listener.INTERNAL]):
            return frozenset()
        client = self._client(self.address(node_id, Listener.INTERNAL))
        try:
            await client.bootstrap()
            return frozenset(broker.nodeId for broker in client.cluster.brokers())
        except (KafkaError, OSError, TimeoutError):
            return frozenset()
        finally:
            await client.close()

    def _client(self, bootstrap_servers: str) -> Any:
        return AIOKafkaClient(
            bootstrap_servers=bootstrap_servers,
            client_id="apache-kafka-control",
            request_timeout_ms=round(_ASK_TIMEOUT * 1000),
        )

    def _worth_keeping(self) -> bool:
        """Whether logs tell more about a failed start than the error does."""
        return any(node.log.exists() for node in self._nodes.values())

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()


def _tidy_up() -> None:
    """Remove the folders of those who were killed before they could."""
    for folder in jars.HOME.glob("run-*-*"):
        _, pid, _ = folder.name.split("-")
        if not Path("/proc", pid).exists() and Path("/proc/self").exists():
            shutil.rmtree(folder, ignore_errors=True)
