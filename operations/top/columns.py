"""The tables: which columns there are at which width, and what stands in each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from operations.top.panels import BAD, DIM, GOOD, OUTCOMES, WARN
from operations.top.words import bar, clock, count, seconds, shown

if TYPE_CHECKING:
    from operations.observation.schemas.actors import Actor
    from operations.observation.schemas.takedowns import FinishedTakedown

_STATES = {
    "Idle": DIM,
    "Locating": WARN,
    "Active": "cyan",
    "Open": GOOD,
    "Reading": GOOD,
    "Working": GOOD,
    "CatchingUp": WARN,
    "Draining": WARN,
    "Interrupted": BAD,
}
_BAR = 12
_SOON = 0.25

Cell = Callable[["Actor", float], Text]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the actors.

    Attributes:
        name: its title.
        width: in letters.
        from_width: of the terminal, from which it is shown.
        cell: what stands in it, so many seconds after it was told.
        moves: it changes as time passes.
    """

    name: str
    width: int
    from_width: int
    cell: Cell
    moves: bool = False


def _name(actor: Actor, _elapsed: float) -> Text:
    name = f"censor {actor.id[:8]}" if actor.kind == "ItemCensor" else actor.kind
    if actor.kind == "TopicReader":
        name = actor.id.removeprefix("reader-")
    return Text(("! " if actor.stuck else "  ") + shown(name, 22), BAD if actor.stuck else "")


def _state(actor: Actor, _elapsed: float) -> Text:
    style = BAD if actor.stuck else _STATES.get(actor.state, "")
    return Text(shown(actor.state, 12), style)


def _item(actor: Actor, _elapsed: float) -> Text:
    return Text(shown(actor.item_id or "", 36))


def _takedown(actor: Actor, _elapsed: float) -> Text:
    return Text(shown(actor.takedown_id or "", 36), DIM)


def _age(actor: Actor, elapsed: float) -> Text:
    age = actor.age_seconds if actor.age_seconds is not None else actor.in_state_seconds
    style = "" if actor.age_seconds is not None else DIM
    return Text(seconds(None if age is None else age + elapsed), style, justify="right")


def _time(actor: Actor, elapsed: float) -> Text:
    """How much of its time is gone."""
    if actor.age_seconds is None or actor.deadline_left_seconds is None:
        return Text(" " * _BAR)
    age, left = actor.age_seconds + elapsed, _remaining(actor.deadline_left_seconds, elapsed)
    total = actor.age_seconds + actor.deadline_left_seconds
    return Text(bar(age / total if total > 0 else 1.0, _BAR), f"{_urgency(left, total)} on grey23")


def _left(actor: Actor, elapsed: float) -> Text:
    if actor.age_seconds is None or actor.deadline_left_seconds is None:
        return Text("")
    left = _remaining(actor.deadline_left_seconds, elapsed)
    total = actor.age_seconds + actor.deadline_left_seconds
    return Text(seconds(left), _urgency(left, total), justify="right")


def _remaining(said: float, elapsed: float) -> float:
    """What is left by now; below nothing only if the service has said so.

    An answer at the deadline is told a moment later, and nobody is to take that for being late.
    """
    return said - elapsed if said < 0 else max(0.0, said - elapsed)


def _urgency(left: float, total: float) -> str:
    if left < 0:
        return BAD
    return WARN if total > 0 and left / total < _SOON else GOOD


def _done(actor: Actor, _elapsed: float) -> Text:
    if actor.containers_total is None:
        return Text("")
    return Text(f"{actor.containers_done or 0}/{actor.containers_total}", justify="right")


def _waiting(actor: Actor, _elapsed: float) -> Text:
    text = Text(shown("+".join(actor.waiting_for), 26))
    if actor.outstanding:
        places = " ".join(place.container_id for place in actor.outstanding[:3])
        text.append(f"  {shown(places, 40)}", DIM)
    return text


def _mailbox(actor: Actor, _elapsed: float) -> Text:
    style = WARN if actor.mailbox_depth else DIM
    return Text(count(actor.mailbox_depth), style, justify="right")


def _restarts(actor: Actor, _elapsed: float) -> Text:
    return Text(count(actor.restarts), WARN if actor.restarts else DIM, justify="right")


def _last(actor: Actor, elapsed: float) -> Text:
    last = actor.last_transition
    if last is None:
        return Text("")
    text = Text(shown(last.event, 20))
    text.append(f"  {seconds(last.ago_seconds + elapsed)} ago", DIM)
    return text


COLUMNS = (
    Column("ACTOR", 20, 0, _name),
    Column("STATE", 12, 0, _state),
    Column("AGE", 7, 0, _age, moves=True),
    Column("TIME GONE", _BAR, 0, _time, moves=True),
    Column("LEFT", 7, 72, _left, moves=True),
    Column("DONE", 7, 80, _done),
    Column("WAITS FOR", 34, 116, _waiting),
    Column("ITEM", 36, 154, _item),
    Column("MAIL", 5, 161, _mailbox),
    Column("RESTARTS", 8, 171, _restarts),
    Column("LAST EVENT", 30, 203, _last, moves=True),
    Column("TAKEDOWN", 36, 241, _takedown),
)


def columns(width: int) -> tuple[Column, ...]:
    """Those that a terminal of this width has room for."""
    return tuple(column for column in COLUMNS if column.from_width <= width)


RECENT = ("ANSWERED", "STATUS", "OUTCOME", "TOOK", "DONE", "LATE", "ITEM", "DETAIL")


def recent_row(takedown: FinishedTakedown) -> tuple[Text, ...]:
    """One takedown that has its answer, in the columns of `RECENT`."""
    total = takedown.containers_total
    style = OUTCOMES.get(takedown.outcome, "")
    return (
        Text(clock(takedown.answered_at)),
        Text(str(takedown.status), style),
        Text(takedown.outcome, style),
        Text(seconds(takedown.elapsed_seconds), justify="right"),
        Text("" if total is None else f"{takedown.containers_done or 0}/{total}", justify="right"),
        Text(count(takedown.late_events), WARN if takedown.late_events else DIM, justify="right"),
        Text(shown(takedown.item_id, 36)),
        Text(shown(takedown.detail or "", 80), DIM),
    )
