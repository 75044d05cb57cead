"""The delete requests of one takedown on their way to Kafka, and what became of them.

A failure is told as soon as it is known that something was sent: the answer then cannot be "nothing
was published" any more. Until that is known, a failure of requests that were not sent waits for the
others: they may all end like it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from aiokafka.errors import KafkaConnectionError, KafkaError

from domain.errors import KafkaUnavailable
from domain.messages import PublishFailed, RequestsPublished

if TYPE_CHECKING:
    from domain.messages import Container, ContainerId, Takedown

Tell = Callable[[Any], object]

_FEW = 500
"""Requests up to which each failure is told by itself."""


class Trouble(NamedTuple):
    """Why requests were not acknowledged.

    Attributes:
        cause: for operators: it can name servers and users.
        plain: for callers: it names neither.
    """

    cause: str
    plain: str


def plainly(reason: str) -> Trouble:
    """What is for operators and callers alike."""
    return Trouble(reason, reason)


def trouble_of(error: Exception) -> Trouble:
    """Why requests were not acknowledged, by what was raised."""
    cause = str(error) or type(error).__name__
    if isinstance(error, KafkaUnavailable):
        return Trouble(cause, error.plain)
    if isinstance(error, KafkaConnectionError | OSError):
        return Trouble(cause, "the connection to Kafka was lost")
    if isinstance(error, KafkaError):
        return Trouble(cause, type(error).__name__)  # Kafka's own name of it
    return Trouble(f"defect: {error!r}", "a defect in this service")


Settled = Callable[[int, int, str], object]
"""Is told once: how many requests Kafka acknowledged, how many not, and why not (or nothing)."""


class KafkaPublication:
    """Receives what becomes of each request, and tells it.

    `RequestsPublished` is told once all requests are acknowledged. After a failure `PublishFailed`
    is told: at once if a request of this publication was sent, otherwise as soon as one is or all
    are settled; then with each further failure, and in any case when all are settled.

    Args:
        takedown: whose requests they are.
        containers: one request for each.
        tell: gets `RequestsPublished` or `PublishFailed`.
        on_settled: is called once all are settled, also if the takedown does not wait any more.
    """

    __slots__ = (
        "_containers",
        "_failed",
        "_handed_over",
        "_in_flight",
        "_on_settled",
        "_open",
        "_published",
        "_reporting",
        "_stopped",
        "_tell",
        "_trouble",
        "_untold",
        "takedown",
    )

    def __init__(
        self,
        takedown: Takedown,
        containers: tuple[Container, ...],
        tell: Tell,
        on_settled: Settled,
    ) -> None:
        self.takedown = takedown
        self._containers = containers
        self._tell = tell
        self._on_settled = on_settled
        self._open = len(containers)
        self._published: list[Container] = []
        self._failed: set[ContainerId] = set()
        self._trouble = Trouble("", "")
        self._in_flight = 0  # sent, and neither settled nor taken back
        self._handed_over = False
        self._untold = False  # a failure is known and was not told yet
        self._stopped = False
        self._reporting = False

    @property
    def stopped(self) -> bool:
        """Nobody waits for it any more."""
        return self._stopped

    def stop(self) -> None:
        """Hand nothing more over, and tell nothing."""
        self._stopped = True

    def sent(self, containers: int) -> None:
        """So many requests are on their way to Kafka, and not settled."""
        self._in_flight += containers
        if self._untold:
            self._report()  # it waited for this

    def taken_back(self, containers: int) -> None:
        """So many that were sent are not in Kafka, for certain, and are sent again."""
        self._in_flight -= containers

    def acknowledged(self, containers: list[Container]) -> None:
        """Kafka has the requests for these, which were sent."""
        self._handed_over = True
        self._published += containers
        self._in_flight -= len(containers)
        self._settle(len(containers))

    def failed(
        self, containers: Sequence[Container], trouble: Trouble, *, handed_over: bool
    ) -> None:
        """Kafka did not acknowledge these; `handed_over` if they were sent and may be there."""
        self._handed_over = self._handed_over or handed_over
        if not self._failed:
            self._trouble = trouble
        self._failed.update(c.container_id for c in containers)
        self._untold = True
        if handed_over:
            self._in_flight -= len(containers)
        self._settle(len(containers))

    def _settle(self, containers: int) -> None:
        self._open -= containers
        if not self._open:
            self._on_settled(len(self._published), len(self._failed), self._trouble.cause)
            if self._failed:
                self._tell_failure()
            elif not self._stopped:
                self._tell(RequestsPublished(self.takedown.takedown_id))
        elif self._untold and (self._handed_over or self._in_flight):
            self._report()

    def _report(self) -> None:
        """Tell a failure; of very many requests once in a turn of the loop.

        Their batches fail at the same time when a connection breaks, and each report names all.
        """
        if len(self._containers) <= _FEW:
            self._tell_failure()
        elif not self._reporting:
            self._reporting = True
            asyncio.get_running_loop().call_soon(self._report_now)

    def _report_now(self) -> None:
        self._reporting = False
        if self._open and self._untold:  # otherwise it was told meanwhile
            self._tell_failure()

    def _tell_failure(self) -> None:
        self._untold = False
        if self._stopped:
            return
        published = {c.container_id for c in self._published}
        settled = published | self._failed
        self._tell(
            PublishFailed(
                takedown_id=self.takedown.takedown_id,
                cause=self._trouble.cause,
                plain=self._trouble.plain,
                handed_over=self._handed_over or self._in_flight > 0,
                published=tuple(self._published),
                unpublished=tuple(c for c in self._containers if c.container_id in self._failed),
                unacknowledged=tuple(c for c in self._containers if c.container_id not in settled),
            )
        )
