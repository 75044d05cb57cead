"""The supervision tree as it is now; docs/architecture.md has it in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from operations.observation.schemas.statistics import SupervisionNode
from operations.observation.summaries import id_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coordinator.coordinator import Coordinator

_TASK = "one that ends before the shutdown ends the service, status 1"
_COORDINATOR = "restarted in place; more than 3 times in 15 s ends the service, status 1"
_CENSORS = "one for one, restarted in place; more than 3 times in 15 s: replaced"


def tree(
    coordinator: Coordinator | None, censors: int, tasks: Mapping[str, bool]
) -> SupervisionNode:
    """The service, its tasks, the coordinator and all censors.

    Args:
        coordinator: the coordinator, once there is one.
        censors: how many are alive.
        tasks: the service's own tasks by name, and whether each runs.
    """
    children = [
        SupervisionNode(
            name=name,
            kind="task",
            actor_id=None,
            alive=alive,
            count=1,
            restarts=0,
            policy=_TASK,
            children=(),
        )
        for name, alive in tasks.items()
    ]
    if coordinator is not None:
        known = coordinator.statistics()
        children.append(
            SupervisionNode(
                name="Coordinator",
                kind="Coordinator",
                actor_id=id_of(coordinator.actor_urn),
                alive=coordinator.actor_ref.is_alive(),
                count=1,
                restarts=coordinator.restarts,
                policy=_COORDINATOR,
                children=(
                    SupervisionNode(
                        name="ItemCensor",
                        kind="ItemCensor",
                        actor_id=None,
                        alive=True,
                        count=censors,
                        restarts=known.restarts,
                        policy=_CENSORS,
                        children=(),
                    ),
                ),
            )
        )
    return SupervisionNode(
        name="Service",
        kind="service",
        actor_id=None,
        alive=True,
        count=1,
        restarts=0,
        policy="ends with the process",
        children=tuple(children),
    )
