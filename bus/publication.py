"""The delete requests of one takedown on their way to Kafka, and what became of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from messages import PublishFailed, RequestsPublished

if TYPE_CHECKING:
    from messages import Container, Takedown

Tell = Callable[[Any], object]

Settled = Callable[[int, int, str], object]
"""Is told once: how many requests Kafka acknowledged, how many not, and why not (or nothing)."""


class KafkaPublication:
    """Hears what becomes of each request, and tells it once all are settled.

    Args:
        takedown: whose requests they are.
        containers: one request for each.
        tell: gets `RequestsPublished` or `PublishFailed`.
        on_settled: hears of it even if the takedown does not wait for it any more.
    """

    __slots__ = ("_cause", "_containers", "_handed_over", "_on_settled", "_open", "_published",
                 "_stopped", "_tell", "takedown")  # fmt: skip

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
        self._cause = ""
        self._handed_over = False
        self._stopped = False

    @property
    def stopped(self) -> bool:
        """Nobody waits for it any more."""
        return self._stopped

    def stop(self) -> None:
        """Hand nothing more over, and tell nothing."""
        self._stopped = True

    def acknowledged(self, containers: list[Container]) -> None:
        """Kafka has the requests for these."""
        self._handed_over = True
        self._published += containers
        self._settle(len(containers))

    def failed(self, containers: int, cause: str, *, handed_over: bool) -> None:
        """Kafka did not acknowledge so many requests; `handed_over` if they may be there."""
        self._handed_over = self._handed_over or handed_over
        self._cause = self._cause or cause
        self._settle(containers)

    def _settle(self, containers: int) -> None:
        self._open -= containers
        if self._open:
            return
        published = tuple(self._published)
        unpublished = (
            tuple(c for c in self._containers if c not in published) if self._cause else ()
        )
        self._on_settled(len(published), len(unpublished), self._cause)
        if self._stopped:
            return
        takedown_id = self.takedown.takedown_id
        if not self._cause:
            self._tell(RequestsPublished(takedown_id))
            return
        self._tell(
            PublishFailed(
                takedown_id=takedown_id,
                cause=self._cause,
                handed_over=self._handed_over,
                published=published,
                unpublished=unpublished,
            )
        )
