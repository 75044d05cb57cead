"""Diagnoses why Kafka cannot be used, at the start and whenever it cannot be used any more.

One diagnosis is made at the start, since a permission may be missing although everything is
connected. After that, none is made while Kafka works and no permission is refused.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from bus.kafka.diagnosis import Diagnosis, diagnose
from domain.printable import escaped

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bus.kafka.connection import Connection
    from bus.kafka.permissions import Need

logger = logging.getLogger("takedown.kafka")

CHECK_EVERY = 0.5
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 5.0
"""Seconds between two diagnoses; each pause is twice as long as the one before."""
_REFUSED_PAUSE = 2.0
"""The longest while only a permission is missing: nothing else shows that it was granted."""
_BOUND = 20.0


class FirstContact:
    """What is known about why Kafka cannot be used.

    Args:
        connection: how Kafka is reached.
        needs: what is done with which topics.
        connected: whether every part works now.
        last_errors: what went wrong last, of each part; a new one that is about a permission has
            the permissions checked.
        find: makes a diagnosis.
    """

    def __init__(
        self,
        connection: Connection,
        needs: tuple[Need, ...],
        *,
        connected: Callable[[], bool],
        last_errors: Callable[[], tuple[str, ...]],
        find: Callable[[Connection, tuple[Need, ...]], Awaitable[Diagnosis]] = diagnose,
    ) -> None:
        self._connection = connection
        self._needs = needs
        self._connected = connected
        self._last_errors = last_errors
        self._find = find
        self._diagnosis = Diagnosis()
        self._errors: tuple[str, ...] = ()

    def refused(self, topic: str) -> str | None:
        """Which permission is missing on a topic, and the command that grants it; None: none is."""
        return self._diagnosis.topics.get(topic)

    def explain(self, topic: str, error: str) -> str:
        """Why a part that does not work cannot use its topic.

        Args:
            topic: which topic the part uses.
            error: what it reports itself.
        """
        found = self._diagnosis
        if found.problem and not found.partial:
            return found.problem
        if topic in found.topics:
            return found.topics[topic]
        # A topic that may not be described keeps the other parts from beginning, too.
        # What a client reports may have a name of the metadata in it, with any characters.
        return "; ".join([escaped(error), *found.topics.values(), *filter(None, [found.problem])])

    async def run(self) -> None:
        """Make diagnoses when they are due, until cancelled."""
        if not self._connection.clients.sockets:
            await asyncio.get_running_loop().create_future()
        pause = _FIRST_PAUSE
        while True:
            await self._diagnose()
            if not self._works():
                longest = _REFUSED_PAUSE if self._connected() else _LONGEST_PAUSE
                await asyncio.sleep(min(pause, longest))
                pause = min(2 * pause, _LONGEST_PAUSE)
            if self._works():
                pause = _FIRST_PAUSE
                self._diagnosis = Diagnosis()
                await self._until_due()

    def _works(self) -> bool:
        return self._connected() and not self._diagnosis.topics

    async def _until_due(self) -> None:
        while self._connected() and not self._is_refused():  # noqa: ASYNC110 - nothing reports it
            await asyncio.sleep(CHECK_EVERY)

    def _is_refused(self) -> bool:
        """Whether a part was refused something since this was asked last."""
        before, self._errors = self._errors, self._last_errors()
        return any("Authorization" in error and error not in before for error in self._errors)

    async def _diagnose(self) -> None:
        self._errors = self._last_errors()  # what is refused from now on is not in it
        try:
            async with asyncio.timeout(_BOUND):
                self._diagnosis = await self._find(self._connection, self._needs)
        except TimeoutError:
            self._diagnosis = Diagnosis()
        except Exception:
            self._diagnosis = Diagnosis()
            logger.exception("Defect in the diagnosis of Kafka")
