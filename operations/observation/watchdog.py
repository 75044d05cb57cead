"""Sees what does not move: overdue actors, mailboxes that do not drain, a loop that lags.

None of these can happen while the service is right; who is called at night wants to know at once
that one of them did. Each is an incident: logged once when it begins and once when it ends.

Once a second a tick looks at every actor, in turns of the loop. When the whole process was held
up, everything is overdue at the first tick after it and nothing at the next, so what is said of
an actor must hold for several ticks in a row; that the loop was held up is said at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from typing import TYPE_CHECKING, get_args

from msgspec import Struct

from operations.observation.formatting import cut
from operations.observation.schemas.fields import IncidentKind
from operations.observation.schemas.incidents import Incident, Incidents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from operations.observation.clock import Clock

logger = logging.getLogger("takedown.watch")

INTERVAL = 1.0
"""Seconds between two ticks."""

GRACE = 0.5
"""Seconds after its deadline at which a takedown without an answer is overdue."""

OVERDUE_TICKS = 2
MAILBOX_TICKS = 3
LAG = 0.5
"""Seconds that a tick may be late before the loop counts as held up."""

_LOGGED = 10
_SHOWN = 100


class Look(Struct, frozen=True):
    """What the watch sees of one actor.

    Attributes:
        id: whose it is.
        name: for people.
        mailbox: messages that wait.
        handled: messages handled so far.
        deadline: of its takedown; None without one.
        takedown_id: the same.
        item_id: the same.
    """

    id: str
    name: str
    mailbox: int
    handled: int
    deadline: float | None = None
    takedown_id: str | None = None
    item_id: str | None = None


class _Suspicion:
    __slots__ = ("handled", "since", "ticks")

    def __init__(self, since: float, handled: int) -> None:
        self.since = since
        self.handled = handled
        self.ticks = 0


class _Case(Struct):
    number: int
    kind: IncidentKind
    since: float
    detail: str
    actor_id: str | None = None
    takedown_id: str | None = None
    item_id: str | None = None
    ended: float | None = None


_Key = tuple[str, str, str | None]


class Watch:
    """Looks once a second, for as long as `run` runs.

    Args:
        clock: the loop's.
        actors: gives every actor that has messages waiting or is past its deadline, and None now
            and then for a turn of the others on the loop. Most actors are neither, and cost the
            least where they are.
        on_tick: called at each tick, with the seconds that it came too late.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        actors: Callable[[], Iterable[Look | None]],
        on_tick: Callable[[float], None],
    ) -> None:
        self._clock = clock
        self._actors = actors
        self._on_tick = on_tick
        self._suspicions: dict[_Key, _Suspicion] = {}
        self._open: dict[_Key, _Case] = {}
        self._past: deque[_Case] = deque(maxlen=100)
        self._numbers = 0
        self.counts: Counter[str] = Counter(dict.fromkeys(get_args(IncidentKind), 0))
        self._stuck: frozenset[str] = frozenset()

    async def run(self) -> None:
        """Tick until cancelled."""
        now = self._clock.now
        due = now() + INTERVAL
        while True:
            await asyncio.sleep(max(0.0, due - now()))
            lag = max(0.0, now() - due)
            due = now() + INTERVAL
            try:
                await self.tick(lag)
            except Exception:  # whoever watches must not be what ends the service
                logger.exception("Defect while watching")

    async def tick(self, lag: float) -> None:
        """Look once."""
        self._on_tick(lag)
        self._judge_lag(lag)
        seen: set[_Key] = set()
        begun: list[_Case] = []
        for look in self._actors():
            if look is None:
                await asyncio.sleep(0)
            else:
                self._look(look, seen, begun)
        for key in self._suspicions.keys() - seen:
            del self._suspicions[key]
        for key in [key for key in self._open if key not in seen and key[0] != "loop-lag"]:
            self._end(key)
        for case in begun[:_LOGGED]:
            self._log(case)
        if len(begun) > _LOGGED:
            logger.error("Stuck: %d more actors at the same time", len(begun) - _LOGGED)
        self._stuck = frozenset(case.actor_id for case in self._open.values() if case.actor_id)

    def _look(self, look: Look, seen: set[_Key], begun: list[_Case]) -> None:
        now = self._clock.now()
        if look.deadline is not None and now > look.deadline + GRACE:
            key: _Key = ("overdue", look.id, look.takedown_id)
            seen.add(key)
            if self._confirmed(key, look.deadline, 0, OVERDUE_TICKS):
                text = f"{look.name} has not answered its takedown by the deadline"
                begun.append(self._begin(key, "overdue", look, look.deadline, text))
        if look.mailbox:
            key = ("mailbox", look.id, None)
            seen.add(key)
            if self._confirmed(key, now, look.handled, MAILBOX_TICKS):
                text = f"{look.mailbox} messages wait for {look.name}, which handles none"
                since = self._suspicions[key].since
                begun.append(self._begin(key, "mailbox", look, since, text))

    def _confirmed(self, key: _Key, since: float, handled: int, ticks: int) -> bool:
        """Whether it has been so for so many ticks, and is not an incident yet."""
        suspicion = self._suspicions.get(key)
        if suspicion is None or suspicion.handled != handled:
            # It moves. An incident that is open for it ends at the next tick that finds nothing.
            self._suspicions[key] = suspicion = _Suspicion(since, handled)
            if key in self._open:
                self._end(key)
        suspicion.ticks += 1
        return suspicion.ticks >= ticks and key not in self._open

    def _judge_lag(self, lag: float) -> None:
        key: _Key = ("loop-lag", "", None)
        if lag <= LAG:
            if key in self._open:
                self._end(key)
            return
        if key not in self._open:
            detail = f"the event loop was held up for {lag:.1f} s"
            self._log(self._begin(key, "loop-lag", None, self._clock.now() - lag, detail))

    def _begin(
        self, key: _Key, kind: IncidentKind, look: Look | None, since: float, detail: str
    ) -> _Case:
        self._numbers += 1
        self.counts[kind] += 1
        case = _Case(self._numbers, kind, since, cut(detail))
        if look is not None:
            case.actor_id = look.id
            if kind == "overdue":
                case.takedown_id, case.item_id = look.takedown_id, look.item_id
        self._open[key] = case
        return case

    def _end(self, key: _Key) -> None:
        case = self._open.pop(key)
        case.ended = self._clock.now()
        self._past.append(case)
        if case.kind != "loop-lag":
            logger.info("Not stuck any more: %s", case.detail, extra=_facts(case))

    def _log(self, case: _Case) -> None:
        level = logging.WARNING if case.kind == "loop-lag" else logging.ERROR
        logger.log(level, "Stuck: %s", case.detail, extra=_facts(case))

    # -------------------------------------------------------------------------- looking

    @property
    def stuck(self) -> frozenset[str]:
        """The ids of the actors that are stuck."""
        return self._stuck

    def open_counts(self) -> dict[str, int]:
        """Open incidents by kind."""
        counts = dict.fromkeys(get_args(IncidentKind), 0)
        for case in self._open.values():
            counts[case.kind] += 1
        return counts

    def view(self) -> Incidents:
        """What is stuck, and what was."""
        cases = tuple(self._open.values())
        return Incidents(
            stuck=tuple(map(self._shown, cases[:_SHOWN])),
            stuck_count=len(cases),
            past=tuple(self._shown(case) for case in reversed(self._past)),
        )

    def _shown(self, case: _Case) -> Incident:
        ended = case.ended
        return Incident(
            id=case.number,
            kind=case.kind,
            actor_id=case.actor_id,
            takedown_id=case.takedown_id,
            item_id=case.item_id,
            since=self._clock.label(case.since),
            lasted_seconds=(self._clock.now() if ended is None else ended) - case.since,
            ended_at=None if ended is None else self._clock.label(ended),
            detail=case.detail,
        )


def _facts(case: _Case) -> dict[str, object]:
    facts = {
        "incident": case.number,
        "kind": case.kind,
        "actor": case.actor_id,
        "takedownId": case.takedown_id,
        "itemId": case.item_id,
    }
    return {name: value for name, value in facts.items() if value is not None}
