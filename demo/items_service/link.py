"""Keeps a session with Kafka, whatever Kafka does: one after the other, for ever."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import stamina
from aiokafka.errors import KafkaError

from demo.items_service.errors import SessionLost
from demo.items_service.session import Session
from domain.errors import KafkaUnavailable

if TYPE_CHECKING:
    from demo.items_service.context import SessionContext

logger = logging.getLogger("takedown.items_service")

LONGEST_REQUEST = 3.0
"""Seconds: no request to Kafka takes longer here, so that losing it shows soon, and so that a
stop while connecting is soon over. What fails by it is tried again."""

_LOST: tuple[type[Exception], ...] = (KafkaUnavailable, SessionLost, KafkaError, OSError)
_FIRST_WAIT = 0.1
_LONGEST_WAIT = 2.0
_WAIT_JITTER = 0.1
_LASTING = 5.0
"""Seconds: what is lost sooner counts as a failed attempt, and the next one waits longer."""


class Link:
    """The service's link to Kafka."""

    def __init__(self, context: SessionContext) -> None:
        connection = context.connection
        self._context = replace(
            context,
            connection=replace(
                connection, request_timeout=min(connection.request_timeout, LONGEST_REQUEST)
            ),
        )
        self.connected = asyncio.Event()
        """Set as long as there is a session."""
        self._outage_logged = False

    async def run(self) -> None:
        """Work until cancelled. Kafka's failures are logged; anything else ends it.

        Raises:
            ExceptionGroup: the database failed, or there is a defect.
        """
        while True:
            async for attempt in stamina.retry_context(
                on=_LOST,
                attempts=None,
                timeout=None,
                wait_initial=_FIRST_WAIT,
                wait_max=_LONGEST_WAIT,
                wait_jitter=_WAIT_JITTER,
            ):
                with attempt:
                    await self._one_session()

    async def _one_session(self) -> None:
        """Returns when a session ends that had lasted: the next one need not wait."""
        session = Session(self._context)
        try:
            await self._open(session)
            await self._work(session)
        finally:
            self.connected.clear()
            await session.close()

    async def _open(self, session: Session) -> None:
        try:
            await _undisturbed(session.open())
        except _LOST as error:
            if not self._outage_logged:
                self._outage_logged = True
                logger.warning("Kafka cannot be reached, trying until it can: %s", error)
            raise

    async def _work(self, session: Session) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._context.tally.sessions += 1
        self._outage_logged = False
        self.connected.set()
        logger.info("Connected to Kafka at %s", self._context.connection.bootstrap_servers)
        reason = None
        try:
            await session.run()
        except* _LOST as group:
            reason = _first(group)
        logger.warning("Lost Kafka, connecting again: %s", reason)
        if loop.time() - began < _LASTING:
            raise SessionLost(f"lost at once: {reason}")


async def _undisturbed(opening: object) -> None:
    """Let it come to its end even if we are cancelled, and be cancelled only then.

    aiokafka loses track of a connection if it is cancelled while it looks for the brokers. No
    request takes longer than `LONGEST_REQUEST`, so the end is near.
    """
    task = asyncio.ensure_future(opening)  # type: ignore[call-overload]
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task}, timeout=LONGEST_REQUEST)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise


def _first(group: BaseExceptionGroup[BaseException]) -> str:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__
