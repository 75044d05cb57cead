"""One takedown as a timeline, and one actor with what it says of itself; as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from operations.top.panels import BAD, DIM, GOOD, NAME, OUTCOMES, WARN
from operations.top.words import bar, clock, seconds, shown

if TYPE_CHECKING:
    from operations.observation.schemas.actors import ActorDetail
    from operations.observation.schemas.takedowns import Progress, Step, Timeline

_BAR = 30


def timeline(known: Timeline) -> Text:
    """One takedown: what it is, its containers, and its steps."""
    text = Text()
    _fact(text, "takedown", known.takedown_id)
    _fact(text, "item", known.item_id)
    _fact(text, "trace", known.traceparent)
    text.append("outcome     ", DIM)
    if known.outcome is None:
        text.append("in flight", "cyan")
    else:
        text.append(f"{known.status} {known.outcome}", OUTCOMES.get(known.outcome, ""))
    if known.detail:
        text.append(f"  {shown(known.detail)}")
    text.append("\ntime        ", DIM)
    share = known.elapsed_seconds / known.timeout_seconds if known.timeout_seconds else 1.0
    text.append(bar(share, _BAR), f"{GOOD if share < 1 else BAD} on grey23")
    text.append(f"  {seconds(known.elapsed_seconds)} of {seconds(known.timeout_seconds)}")
    text.append(f"   accepted {clock(known.accepted_at)}\n\n", DIM)
    _containers(text, known.containers, known.containers_total)
    text.append("\nsteps\n", NAME)
    longest = max((each.after_seconds for each in known.steps), default=0.0) or 1.0
    for step in known.steps:
        _step(text, step, longest)
    if known.steps_dropped:
        text.append(f"  and {known.steps_dropped} more that are not stored\n", DIM)
    return text


def _fact(text: Text, name: str, value: str) -> None:
    text.append(f"{name:<12}", DIM)
    text.append(f"{shown(value)}\n")


def _containers(text: Text, containers: tuple[Progress, ...], total: int | None) -> None:
    done = sum(each.deleted for each in containers)
    text.append("containers", NAME)
    text.append(f"  {done} of {total} deleted\n" if total is not None else "  not known\n", DIM)
    for each in containers:
        mark, style = ("✔", GOOD) if each.deleted else ("…", WARN)
        if each.late:
            mark, style = "late", WARN
        text.append(f"  {mark:<4} ", style)
        text.append(f"{shown(each.container_id, 40):<40} ")
        text.append(f"{shown(each.container_type, 16):<16} ", DIM)
        after = each.after_seconds
        text.append("outstanding\n" if after is None and not each.deleted else "")
        if after is not None:
            text.append(f"after {seconds(after)}\n")
        elif each.deleted:
            text.append("not in the item's newest list\n", DIM)


def _step(text: Text, step: Step, longest: float) -> None:
    place = round(step.after_seconds / longest * (_BAR - 1))
    text.append(f"  {seconds(max(0.0, step.after_seconds)):>7} ", DIM)
    text.append("·" * max(0, min(_BAR - 1, place)), DIM)
    text.append("●", WARN if step.late else GOOD)
    text.append(" " * (_BAR - 1 - max(0, min(_BAR - 1, place))))
    text.append(f" {step.source} → {step.target}".ljust(26), "cyan")
    text.append(shown(step.text, 90), BAD if step.event == "PublishFailed" else "")
    text.append("  late\n" if step.late else "\n", WARN)


def actor(known: ActorDetail) -> Text:
    """One actor: its row's facts, timers, last transitions, and data."""
    text = Text()
    row = known.actor
    _fact(text, "actor", f"{row.kind} {row.id}")
    _fact(text, "state", row.state + (f" for {seconds(row.in_state_seconds)}" if row.since else ""))
    _fact(text, "mailbox", f"{row.mailbox_depth} waiting, {row.handled} handled")
    _fact(text, "restarts", str(row.restarts))
    if row.stuck:
        text.append("stuck: see the losses\n", BAD)
    for timer in known.timers:
        _fact(text, "timer", f"{timer.name}, in {seconds(timer.left_seconds)}")
    text.append("\nlast transitions\n", NAME)
    for each in known.transitions:
        text.append(f"  {clock(each.at)}  ", DIM)
        text.append(f"{each.source} → {each.target}".ljust(24))
        text.append(f"{shown(each.event)}\n", "cyan")
    text.append("\ndata\n", NAME)
    for name, value in known.data.items():
        text.append(f"  {shown(name)} ", DIM)
        text.append(f"{shown(str(value))}\n")
    return text
