"""One batch of delete requests for one partition, and the takedowns that they are of.

A batch is filled until aiokafka sends it. Each takedown has a time by which its records have to be
enqueued; one whose time is over leaves the batch, and the others stay. A batch that Kafka refuses
for its size can be halved.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeAlias

from bus.kafka.batch_size import BATCH_BYTES
from bus.kafka.codec import headers_of_request, item_key
from bus.kafka.publication import plainly
from domain.errors import KafkaUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiokafka.producer.message_accumulator import BatchBuilder

    from bus.kafka.codec import Headers
    from bus.kafka.publication import KafkaPublication, Trouble
    from domain.messages import Container, Takedown

NOT_IN_TIME = plainly("Kafka did not accept the requests in time")

Request: TypeAlias = "tuple[Container, bytes]"
"""A container, and the value of the record that requests its deletion."""

LARGEST_RECORD = 1024 * 1024 - 1024
"""Bytes of a value that Kafka's brokers accept by default, less key and headers."""

_LENGTHS = 24
"""Bytes of a record in a batch besides its key, value and headers, at most: lengths and deltas."""

_TOGETHER = 0.1
"""Seconds within which takedowns whose time is nearly over leave a batch at the same time."""


class RequestBatch:
    """Records for one partition, and the takedowns that they are of.

    Args:
        builder: aiokafka's batch.
        enqueue_by: the loop's time by which it has to be enqueued, unless that is put off.
        wait_until: the loop's time until which it waits for a leader that refuses connections.
        capacity: bytes that it may have.

    Attributes:
        enqueued: aiokafka has it, and sends it as soon as it can.
        timeout: runs while it waits to be enqueued.
    """

    __slots__ = (
        "_by",
        "_capacity",
        "_requests",
        "builder",
        "enqueue_by",
        "enqueued",
        "timeout",
        "wait_until",
    )

    def __init__(
        self,
        builder: BatchBuilder,
        enqueue_by: float,
        wait_until: float,
        capacity: int = BATCH_BYTES,
    ) -> None:
        self._capacity = capacity
        self.builder = builder
        self.enqueue_by = enqueue_by
        self.wait_until = wait_until
        self.enqueued = False
        self.timeout: asyncio.Timeout | None = None
        self._requests: dict[KafkaPublication, list[Request]] = {}
        self._by: dict[KafkaPublication, float] = {}

    def hurry(self, by: float) -> None:
        """Enqueue by then at the latest."""
        if by < self.enqueue_by and not self.enqueued:
            self.enqueue_by = by
            if self.timeout is not None:
                self.timeout.reschedule(by)

    def add(
        self,
        publication: KafkaPublication,
        request: Request,
        key: bytes,
        headers: Headers,
        by: float,
    ) -> bool:
        """Add one more record, to be enqueued by then; False if it is full, or being sent."""
        value = request[1]
        if self._capacity < BATCH_BYTES and self._is_full_with(_size_of(key, value, headers)):
            return False
        if self.builder.append(timestamp=None, key=key, value=value, headers=headers) is None:
            return False
        self._requests.setdefault(publication, []).append(request)
        self._by[publication] = by
        if self.enqueued:
            publication.sent(1)
        return True

    def _is_full_with(self, size: int) -> bool:
        return bool(self._requests) and self.builder.size() + size > self._capacity

    def sent(self) -> None:
        """Aiokafka has all of it: it may be sent from now on."""
        self.enqueued = True
        for publication, requests in self._requests.items():
            publication.sent(len(requests))

    def taken_back(self) -> None:
        """Kafka has refused all of it: it has written nothing."""
        if self.enqueued:
            for publication, requests in self._requests.items():
                publication.taken_back(len(requests))

    @property
    def is_wanted(self) -> bool:
        """A takedown that has a record in it still waits."""
        return not all(publication.stopped for publication in self._requests)

    @property
    def is_single(self) -> bool:
        """There is one record in it."""
        return sum(map(len, self._requests.values())) == 1

    def halves(self, create: Callable[[], BatchBuilder]) -> tuple[RequestBatch, RequestBatch]:
        """The same records again, in two batches of their own."""
        records = [(whose, request) for whose, own in self._requests.items() for request in own]
        middle = len(records) // 2
        by, until = self.enqueue_by, self.wait_until
        halves = RequestBatch(create(), by, until), RequestBatch(create(), by, until)
        for half, part in zip(halves, (records[:middle], records[middle:]), strict=True):
            for publication, request in part:
                half.add_again(publication, request, self._by[publication])
        return halves

    def add_again(self, publication: KafkaPublication, request: Request, by: float) -> None:
        """Add a record that fitted into a batch before."""
        takedown = publication.takedown
        self.add(publication, request, item_key(takedown.item_id), headers_of(takedown), by)

    def leave_out_late(self, create: Callable[[], BatchBuilder]) -> bool:
        """Fail the takedowns whose time is over and retain the others; False if there are none.

        Nothing of the batch was enqueued, so what is left out never will be.
        """
        soon = asyncio.get_running_loop().time() + _TOGETHER
        retained = {p: by for p, by in self._by.items() if by > soon and not p.stopped}
        if not retained:
            return False
        before, self._requests, self._by = self._requests, {}, {}
        self.builder = create()
        for publication, requests in before.items():
            if publication in retained:
                for request in requests:
                    self.add_again(publication, request, retained[publication])
            else:
                containers = [container for container, _ in requests]
                publication.failed(containers, NOT_IN_TIME, handed_over=False)
        self.enqueue_by = min(retained.values())
        return True

    def settle(self, trouble: Trouble | None) -> None:
        """Report to every publication: acknowledged, or why not."""
        for publication, requests in self._requests.items():
            containers = [container for container, _ in requests]
            if trouble is not None:
                publication.failed(containers, trouble, handed_over=self.enqueued)
            else:
                publication.acknowledged(containers)


def check_size(requests: list[Request]) -> None:
    """Check that no request is larger than Kafka accepts.

    Raises:
        KafkaUnavailable: one is.
    """
    if any(len(value) > LARGEST_RECORD for _, value in requests):
        reason = "a delete request is larger than Kafka takes"
        raise KafkaUnavailable(reason, plain=reason)


def headers_of(takedown: Takedown) -> Headers:
    """The headers of a takedown's requests."""
    return headers_of_request(takedown.takedown_id, takedown.traceparent)


def _size_of(key: bytes, value: bytes, headers: Headers) -> int:
    content = sum(len(name) + len(text) + 4 for name, text in headers)
    return len(key) + len(value) + content + _LENGTHS
