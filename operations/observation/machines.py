"""A machine's table and picture, with where its actors are and how many went which way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors.fsm.diagram import mermaid
from operations.observation.schemas.machines import (
    Arrow,
    MachineRow,
    MachineState,
    MachineView,
    RowTarget,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors.fsm.machine import Machine
    from operations.observation.history import Key


def machine_view(
    machine: Machine[Any, Any],
    live: Mapping[str, int],
    counts: Mapping[Key, int],
    per_second: Mapping[Key, float],
) -> MachineView:
    """One machine.

    Args:
        machine: its table.
        live: actors by state.
        counts: transitions by arrow, since the start.
        per_second: their rates.
    """
    arrows = []
    for (state, event), row in machine.table.items():
        for target in row.to:
            key = (id(state), event, id(target))
            arrows.append(
                Arrow(
                    source=state.value,
                    event=event.__name__,
                    target=target.value,
                    ignored=bool(row.why),
                    count=counts.get(key, 0),
                    per_second=per_second.get(key, 0.0),
                )
            )
    return MachineView(
        name=machine.name,
        states=tuple(
            MachineState(
                name=state.value,
                initial=state is machine.initial.state,
                final=state in machine.final,
                timeout_seconds=machine.timeouts.get(state),
                live=live.get(state.value, 0),
            )
            for state in machine.states
        ),
        rows=tuple(
            MachineRow(
                state=state.value,
                event=event.__name__,
                targets=tuple(
                    RowTarget(state=target.value, condition=condition)
                    for target, condition in row.to.items()
                ),
                effects=tuple(effect.__name__ for effect in row.emits),
                ignored=row.why or None,
            )
            for (state, event), row in machine.table.items()
        ),
        arrows=tuple(arrows),
        diagram=mermaid(machine),
    )
