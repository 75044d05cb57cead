"""What aiokafka 0.14 does not do for us, worked round in this one place.

- `AIOKafkaConsumer.stop()` may raise the `CancelledError` of one of its own tasks, such as a fetch
  that waits for its next attempt (https://github.com/aio-libs/aiokafka/issues/647): the caller
  would take it for its own cancellation, and the connections would stay open.
  `AIOKafkaProducer.stop()` may never return while a broker is away. So both are stopped from a
  task of their own, within a bound, and the client is closed after that in any case.
- Why a broker cannot be used (a wrong password, a certificate that is not trusted) is said in
  aiokafka's log only; what is raised is "Unable to bootstrap", or nothing. `hearing` listens to
  that log.
- A token that the broker refuses is taken for accepted: the refusal comes where other mechanisms
  have their next challenge, and is not looked at. `Security.doubt` says what it may mean when the
  broker then says nothing.
- A connection that is reset is found out while a request is written to it. asyncio ignores that or
  raises an OSError, which aiokafka expects; uvloop raises a RuntimeError, which ends the producer's
  sender (every record under way is "unknown"), the consumer's fetcher or the metadata's
  synchronizer (https://github.com/aio-libs/aiokafka/issues/1038). `mend` has it be what it is, a
  broken connection, after which aiokafka tries again.
- What the broker refuses, since the partition has another leader or is gone, is fetched again for
  ever, or sent again for as long as the request timeout lasts, and nobody is told.
  `hear_refusals` hears it in the answers.
- The leader epochs of what was fetched are in the raw batches only, which `hear_refusals` passes
  on.
- For how long a broker may hold a fetch back that finds nothing is set once for a consumer's whole
  life. `hold_fetches` sets it anew, so that a reader's first fetch need not wait for that long.
- The consumer keeps its client private; the producer does not say that its background task has
  died, and then fails each record one by one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeAlias

from aiokafka import TopicPartition
from aiokafka.client import ConnectionGroup
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    StaleMetadata,
    UnsupportedSaslMechanismError,
    for_code,
)
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.produce import ProduceRequest

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
    from aiokafka.client import AIOKafkaClient

logger = logging.getLogger("takedown.kafka")

_CLOSE = 1.0


class Cause:
    """Why a connection to a broker failed, in the words of the last failure; empty if none did."""

    def __init__(self) -> None:
        self.text = ""

    def instead_of(self, error: object) -> str:
        """The cause if it is known, else the error as it is."""
        return self.text or str(error) or type(error).__name__


_heard_by: ContextVar[Cause | None] = ContextVar("heard_by", default=None)


class _Listener(logging.Handler):
    """Hands what aiokafka says of a connection to whoever made the client.

    The tasks that a client starts inherit the context in which it was started, so that each of
    several clients with different troubles is heard by its own.
    """

    def emit(self, record: logging.LogRecord) -> None:
        cause = _heard_by.get()
        if cause is None or not isinstance(record.args, tuple) or not record.args:
            return
        *where, error = record.args
        # Stale metadata is what follows from a failure, and tells nothing.
        if where and isinstance(error, BaseException) and not isinstance(error, StaleMetadata):
            broker = ":".join(map(str, where)) if len(where) > 1 else f"broker {where[0]}"
            cause.text = f"{broker} cannot be used: {_reason(error)}"


_listener = _Listener(logging.WARNING)


@contextlib.contextmanager
def hearing() -> Iterator[Cause]:
    """Clients that are started in this block have the causes of their failures kept.

    That goes on for as long as they live. `logs.configure` sees to it that aiokafka's complaints
    are made and not shown.
    """
    library = logging.getLogger("aiokafka")
    if _listener not in library.handlers:
        library.addHandler(_listener)
    cause = Cause()
    token = _heard_by.set(cause)
    try:
        yield cause
    finally:
        _heard_by.reset(token)


def _reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, UnsupportedSaslMechanismError):
        return "it does not offer our SASL mechanism"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__


_send = AIOKafkaConnection.send


def mend() -> None:
    """Have aiokafka's connections in this process see that they are broken. May be repeated."""
    AIOKafkaConnection.send = _send_or_break


def _send_or_break(connection: Any, request: Any, expect_response: bool = True) -> Any:
    try:
        return _send(connection, request, expect_response)
    except RuntimeError as error:
        if isinstance(error, KafkaError):
            raise  # these are RuntimeErrors, too
        connection.close(reason=CloseReason.CONNECTION_BROKEN)
        where = f"{connection.host}:{connection.port}"
        raise KafkaConnectionError(f"Connection at {where} broken: {error}") from error


Refused: TypeAlias = Callable[[TopicPartition, type[KafkaError]], object]
"""Is told which partition a broker refuses, and why."""


Fetched: TypeAlias = Callable[[TopicPartition, bytes], object]
"""Receives the raw batches that a broker sent of a partition, before aiokafka decodes them."""


def hear_refusals(client: AIOKafkaClient, refused: Refused, fetched: Fetched | None = None) -> None:
    """Have it told at once when a broker refuses what this client fetches or sends.

    Args:
        client: which asks; from now on, and for as long as it lives.
        refused: must not raise: it is called within aiokafka's own tasks.
        fetched: receives what is fetched; must not raise either.
    """
    send = client.send

    async def send_and_hear(node_id: int, request: Any, **options: Any) -> Any:
        response = await send(node_id, request, **options)
        if isinstance(request, FetchRequest | ProduceRequest):
            for topic, partitions in response.topics or ():
                for partition, error_code, *rest in partitions:
                    if error_code:
                        refused(TopicPartition(topic, partition), for_code(error_code))
                    elif fetched is not None and isinstance(request, FetchRequest) and rest[-1]:
                        fetched(TopicPartition(topic, partition), rest[-1])
        return response

    client.send = send_and_hear


def client_of(consumer: AIOKafkaConsumer) -> AIOKafkaClient:
    """The client below a consumer: topics, metadata, connections."""
    return consumer._client  # noqa: SLF001 - public in the producer, private here


def hold_fetches(consumer: AIOKafkaConsumer, seconds: float) -> None:
    """From its next fetch on, brokers hold a fetch that finds nothing back for so long at most."""
    consumer._fetcher._fetch_max_wait_ms = round(seconds * 1000)  # noqa: SLF001 - set once, by options


def is_connected(client: AIOKafkaClient, node: int) -> bool:
    """Whether there is a connection to this broker now; `ready` would make one."""
    connection = client._conns.get((node, ConnectionGroup.DEFAULT))  # noqa: SLF001 - see ready()
    return connection is not None and connection.connected()


def sender_of(producer: AIOKafkaProducer) -> asyncio.Task[None]:
    """The task that sends what a producer has taken; when it is done, nothing is sent any more."""
    task: asyncio.Task[None] = producer._sender.sender_task  # noqa: SLF001 - nothing public says it
    return task


async def stop_consumer(consumer: AIOKafkaConsumer, *, within: float) -> None:
    """Stop a consumer, whatever state it and the broker are in; never raises."""
    if not await _in_time(consumer.stop(), within):
        await _in_time(client_of(consumer).close(), _CLOSE)


async def stop_producer(producer: AIOKafkaProducer, *, within: float) -> None:
    """Send what can be sent within the bound, fail the rest, and stop; never raises."""
    if await _in_time(producer.stop(), within):
        return
    # Fail what waits, cut the connections, which fails what is under way, and only then end the
    # sender, which waits for what is under way.
    gone = KafkaConnectionError("the producer was stopped before Kafka answered")
    producer._message_accumulator.fail_all(gone)  # noqa: SLF001 - stop() waits for its batches
    await _in_time(producer.client.close(), _CLOSE)
    await _in_time(producer._sender.close(), _CLOSE)  # noqa: SLF001 - nothing public ends it


async def _in_time(ending: Coroutine[Any, Any, Any], within: float) -> bool:
    """Whether it ended by itself, without an error, within so many seconds."""
    task = asyncio.ensure_future(ending)
    await asyncio.wait([task], timeout=within)
    if not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_CLOSE)
        return False
    if task.cancelled():
        return False  # not by us: see above
    if error := task.exception():
        logger.debug("A Kafka client did not stop cleanly: %r", error)
        return False
    return True
