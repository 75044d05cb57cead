"""The catalogue for platforms without `item_published`: it asks the Items service over HTTP.

What is asked and what counts as evidence stands in `catalogue.http.responses`. Around it:

* **Time.** A search ends `MARGIN` before its takedown's deadline, each attempt after its own
  timeout. A retry that would come too late is not waited for: its caller gets the 503 now.
* **Retries** of what may pass (no connection, a timeout, 502, 503, 504, 429), with exponential
  backoff and jitter, no sooner than `Retry-After` says.
* **The circuit.** Failures in a row open it. Then nobody is made to wait for what is known to
  fail: searches end at once, the service is not ready, and new takedowns get their 503 with
  `Retry-After` from the coordinator before a censor is even taken. A 503 from a service that
  called itself ready would say the same to the caller, and hide it from a load balancer, which
  may know an instance that reaches the Items service.
* **The probe** asks for an item that cannot exist, on the route and with the rules of every
  search: first of all, so that a wrong address is known before the first caller comes; when
  nothing was asked for some seconds; and as the circuit's only trial. So readiness comes back
  without traffic, and no caller's takedown is spent on finding out.

* **The list's time**, for deletions that are older than the list and so confirm nothing. It is the
  list's own `publishedAt`, which the contract binds to the clock of `deletedAt`. Without one, the
  answer's `Date` tells when the list was true, less the time that the request took and
  `CLOCKS_APART`: that header may come from another machine's clock than `deletedAt`, and a true
  deletion that counts as an old one would cost every caller his 200. So a `Date` that does not
  agree with our own clock, within as much, is not used at all.

A search that ends by a cancellation or by its takedown's deadline, before its attempt's own
timeout, says nothing about the Items service, and is not counted against it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

import stamina

from catalogue.http.circuit_breaker import Circuit, CircuitState
from catalogue.http.responses import Answer, Fault, Located, NoEvidence, judge
from domain.backoff import JITTER, longest_wait
from domain.messages import CatalogueUnavailable, ContainersFound, ItemId, ItemUnknown

if TYPE_CHECKING:
    from domain.messages import Takedown

logger = logging.getLogger("takedown.catalogue")

Tell = Callable[[Any], object]

MARGIN = 0.1
"""Seconds before the deadline at which a search is given up, so that its answer is in time."""

ATTEMPTS = 5
FIRST_WAIT = 0.1
LONGEST_WAIT = 2.0
THRESHOLD = 5
AT_ONCE = 100
"""Requests at once. More wait for their turn, which counts against their deadline only."""

WATCH = 5.0
"""Seconds without an answer after which the probe asks."""

CLOCKS_APART = 60.0
"""Seconds by which a `Date` and other clocks of the platform may differ."""

_FIRST_REST = 0.5
_LONGEST_REST = 5.0

_WORTH_A_RETRY = frozenset({Fault.PASSING, Fault.CACHED})
_ABOUT_ONE_ITEM = frozenset({Fault.ODD, Fault.CACHED})

NOBODY = ItemId("00000000-0000-0000-0000-000000000000")
"""The nil UUID, which no item can have: what the probe asks for."""


class Transport(Protocol):
    """Speaks HTTP with the Items service."""

    async def get(self, item_id: ItemId, traceparent: str | None) -> Answer:
        """What it answers when asked for an item's containers; `NoEvidence` if it does not.

        It need not bound its time: it is cancelled when that is over.
        """

    async def close(self) -> None:
        """Close every connection."""


@dataclass(frozen=True, slots=True)
class HttpCatalogueStatistics:
    """What was asked, and how it went.

    Attributes:
        requests: requests sent, retries and probes among them.
        retries: requests of a search after its first.
        failures: requests that brought no evidence.
        hits: searches that found at least one container.
        misses: searches that found none, on evidence.
        unavailable: searches that found no evidence.
        waiting: searches under way.
        circuit: closed, opened or half-opened.
        last_error: why there was no evidence the last time; None since the last success.
    """

    requests: int
    retries: int
    failures: int
    hits: int
    misses: int
    unavailable: int
    waiting: int
    circuit: CircuitState
    last_error: str | None


class HttpCatalogue:
    """Asks the Items service for each takedown anew. Give `run` a task.

    Args:
        transport: speaks HTTP; is closed by `stop`.
        attempt_timeout: seconds for one request, from its first byte to the answer's last.
        jitter: a number between the two that it is given.
        utc_now: the wall clock, against which a `Date` is checked.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        attempt_timeout: float = 2.0,
        jitter: Callable[[float, float], float] = random.uniform,
        utc_now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._transport = transport
        self._attempt_timeout = attempt_timeout
        self._jitter = jitter
        self._utc_now = utc_now
        self._circuit = Circuit(threshold=THRESHOLD)
        self._opened = asyncio.Event()
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._searches: set[asyncio.Task[None]] = set()
        self._last_success: float | None = None
        self._last_error: str | None = None
        self._requests = 0
        self._retries = 0
        self._failures = 0
        self._hits = 0
        self._misses = 0
        self._unavailable = 0

    def statistics(self) -> HttpCatalogueStatistics:
        """What was asked, and how it went."""
        return HttpCatalogueStatistics(
            requests=self._requests,
            retries=self._retries,
            failures=self._failures,
            hits=self._hits,
            misses=self._misses,
            unavailable=self._unavailable,
            waiting=len(self._searches),
            circuit=self._circuit.state,
            last_error=self._last_error,
        )

    def why_not_ready(self) -> str | None:
        """What is wrong, in words, or None when the Items service may be asked."""
        if self._last_success is None:
            return self._last_error or "the Items service was not asked yet"
        if not self._circuit.closed:
            return f"the Items service is not asked, its circuit is open: {self._last_error}"
        return None

    # ------------------------------------------------------------------------ searches

    def locate(self, takedown: Takedown, tell: Tell) -> None:
        """Tell what the Items service says of the takedown's item."""
        search = asyncio.get_running_loop().create_task(self._search(takedown, tell))
        self._searches.add(search)
        search.add_done_callback(self._searches.discard)

    async def _search(self, takedown: Takedown, tell: Tell) -> None:
        takedown_id = takedown.takedown_id
        end = takedown.deadline - MARGIN
        try:
            async with asyncio.timeout_at(end):
                located = await self._ask(takedown, end)
        except TimeoutError:
            reason = plain = "the Items service did not report in time where the item is"
        except NoEvidence as error:
            plain = "the Items service does not report where the item is"
            reason = f"{plain}: {error}"
        except Exception as error:
            logger.exception("Defect while searching")
            plain = "defect in the catalogue"
            reason = f"{plain}: {error!r}"
        else:
            if located is not None and located.containers:
                self._hits += 1
            else:
                self._misses += 1
            tell(
                ItemUnknown(takedown_id)
                if located is None
                else ContainersFound(takedown_id, located.containers, located.published_at)
            )
            return
        self._unavailable += 1
        tell(CatalogueUnavailable(takedown_id, reason, plain=plain))

    async def _ask(self, takedown: Takedown, end: float) -> Located | None:
        loop = asyncio.get_running_loop()
        failed = 0

        def wait_before_retry(error: Exception) -> float | bool:
            nonlocal failed
            failed += 1
            if not isinstance(error, NoEvidence) or error.fault not in _WORTH_A_RETRY:
                return False
            if not self._circuit.closed:
                return False
            wait = max(self._wait(failed, FIRST_WAIT, LONGEST_WAIT), error.retry_after)
            return wait if loop.time() + wait < end else False

        # Neither stamina's timeout nor its jitter: they use another clock and another rng.
        async for attempt in stamina.retry_context(wait_before_retry, ATTEMPTS, timeout=None):
            with attempt:
                async with self._turns:
                    if not self._circuit.closed:
                        raise NoEvidence(f"it is not asked: {self._last_error}", Fault.LASTING)
                    self._retries += attempt.num > 1
                    return await self._attempt(takedown.item_id, takedown.traceparent)
        raise AssertionError("each attempt returns or raises")

    async def _attempt(
        self, item_id: ItemId, traceparent: str | None = None, *, trial: bool = False
    ) -> Located | None:
        """One request, counted. A trial is about no caller's item: any failure is the service's."""
        self._requests += 1
        began = asyncio.get_running_loop().time()
        try:
            try:
                async with asyncio.timeout(self._attempt_timeout):
                    answer = await self._transport.get(item_id, traceparent)
            except TimeoutError:
                cause = f"no answer within {self._attempt_timeout:g} s"
                raise NoEvidence(cause, Fault.PASSING) from None
            located = judge(answer, item_id)
        except NoEvidence as error:
            self._failures += 1
            self._last_error = str(error)
            if trial or error.fault not in _ABOUT_ONE_ITEM:
                self._circuit.failed()
            else:
                logger.warning("No evidence about item %s: %s", item_id, error)
            if not self._circuit.closed:
                self._opened.set()
            raise
        self._circuit.succeeded()
        self._last_success = asyncio.get_running_loop().time()
        if self._circuit.closed:  # it stays open for a success that began before it opened
            self._last_error = None
        if located is not None and located.published_at is None:
            took = asyncio.get_running_loop().time() - began
            return located._replace(published_at=self._true_at(answer.date, took))
        return located

    def _true_at(self, date: datetime | None, took: float) -> datetime | None:
        """When a list was true at the earliest, by the `Date` of its answer; None: not known."""
        apart = timedelta(seconds=CLOCKS_APART)
        if date is None or abs(date - self._utc_now()) > apart:
            return None
        return date - timedelta(seconds=took) - apart

    def _wait(self, failed: int, first: float, longest: float) -> float:
        return longest_wait(failed - 1, first, longest) * self._jitter(*JITTER)

    # --------------------------------------------------------------------- watch, stop

    async def run(self) -> None:
        """Watch the Items service until cancelled."""
        failed = 0
        while True:
            if not self._fresh():
                failed = 0 if await self._probe() else failed + 1
            if not failed and await self._opens_within(WATCH):
                failed = 1
            if failed:
                await asyncio.sleep(self._wait(failed, _FIRST_REST, _LONGEST_REST))

    def _fresh(self) -> bool:
        """Whether the service has answered lately, and nothing has opened the circuit since."""
        if self._last_success is None or not self._circuit.closed:
            return False
        return asyncio.get_running_loop().time() - self._last_success < WATCH

    async def _probe(self) -> bool:
        self._circuit.begin_trial()
        try:
            await self._attempt(NOBODY, trial=True)
        except NoEvidence:
            return False
        return self._circuit.closed

    async def _opens_within(self, seconds: float) -> bool:
        self._opened.clear()
        if not self._circuit.closed:
            return True
        try:
            async with asyncio.timeout(seconds):
                await self._opened.wait()
        except TimeoutError:
            return False
        return True

    async def stop(self) -> None:
        """Give up the searches that wait, and hang up."""
        searches = tuple(self._searches)
        for search in searches:
            search.cancel()
        await asyncio.gather(*searches, return_exceptions=True)
        await self._transport.close()
