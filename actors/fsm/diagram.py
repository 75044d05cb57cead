"""Draws a machine from its table, as Mermaid inside a Markdown page."""

from __future__ import annotations

from collections import defaultdict
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from actors.fsm.machine import Machine, Row

S = TypeVar("S", bound=Enum)


def mermaid(machine: Machine[S, Any]) -> str:
    """The machine as a Mermaid state diagram; events that are ignored are left out."""
    lines = ["stateDiagram-v2", f"    [*] --> {machine.initial.state.value}"]
    arrows: dict[tuple[S, S], list[str]] = defaultdict(list)
    for (state, event), row in machine.table.items():
        if row.why:
            continue
        for target, condition in row.to.items():
            arrows[state, target].append(event.__name__ + (f" ({condition})" if condition else ""))
    for (source, target), labels in arrows.items():
        label = "<br/>".join(_escape(label) for label in labels)
        lines.append(f"    {source.value} --> {target.value} : {label}")
    lines += [f"    {state.value} --> [*]" for state in machine.states if state in machine.final]
    return "\n".join(lines)


def page(machine: Machine[S, Any]) -> str:
    """The whole page: picture, table, and what is ignored and why."""
    rows = "\n".join(
        f"| {state.value} | {event.__name__} | {_targets(row)} | {_effects(row)} |"
        for (state, event), row in machine.table.items()
        if not row.why
    )
    ignored = "\n".join(
        f"| {state.value} | {event.__name__} | {row.why} |"
        for (state, event), row in machine.table.items()
        if row.why
    )
    return f"""# {machine.name}

Drawn from the machine's table by `make diagrams`; a test fails when this page is stale.

```mermaid
{mermaid(machine)}
```

| state | event | leads to | may ask for |
| --- | --- | --- | --- |
{rows}

What is ignored, and why:

| state | event | because |
| --- | --- | --- |
{ignored}

Any other event in any state is a defect: it raises, and nothing has changed.
"""


def _targets(row: Row[Any]) -> str:
    return "; ".join(
        target.value + (f" ({condition})" if condition else "")
        for target, condition in row.to.items()
    )


def _effects(row: Row[Any]) -> str:
    return ", ".join(effect.__name__ for effect in row.emits) or "nothing"


def _escape(label: str) -> str:
    # Mermaid ends a label at a semicolon and takes a colon for its own.
    return label.replace(";", ",").replace(":", " -")
