"""When is a service with several workers ready?"""

from __future__ import annotations

import pytest

from app.workers.child import State
from app.workers.readiness import WorkerHealth, merged
from coordinator.readiness import Health

READY = Health({"catalogue": None, "running": None})
BEHIND = Health({"catalogue": "not caught up", "running": None})


def worker(
    number: int,
    state: State = State.RUNNING,
    *,
    listening: bool = True,
    health: Health | None = READY,
    ending: str | None = None,
) -> WorkerHealth:
    return WorkerHealth(
        number=number, state=state, listening=listening, health=health, ending=ending
    )


DEAD = worker(1, State.RESTARTING, listening=False, health=None, ending="by SIGKILL")


@pytest.mark.parametrize(
    ("second", "ready"),
    [
        (worker(1), True),
        (worker(1, health=BEHIND), False),
        (worker(1, health=None), False),
        (DEAD, True),
        (worker(1, State.STARTING, listening=False, health=None), True),
        (worker(1, listening=False, health=BEHIND), True),
        (worker(1, listening=False), True),
    ],
)
def test_it_is_ready_if_every_worker_that_takes_connections_is(
    second: WorkerHealth, ready: bool
) -> None:
    health = merged([worker(0), second], stopping=False)
    assert health.ready is ready
    assert ("worker 1" in health.checks) == second.listening


def test_it_is_not_ready_if_nobody_takes_connections() -> None:
    health = merged([DEAD], stopping=False)
    assert health.checks["workers"] == (
        "none accepts connections: worker 1: restarting; it ended by SIGKILL"
    )


def test_the_missing_safeguards_of_all_workers_are_listed_once() -> None:
    ready = READY.checks
    ones = [
        worker(0, health=Health(ready, {"settings": "not allowed", "epochs": "old broker"})),
        worker(1, health=Health(ready, {"settings": "not allowed"})),
        worker(2, listening=False, health=Health(ready, {"settings": "no answer"})),
        DEAD,
    ]
    health = merged(ones, stopping=False)
    assert health.missing_safeguards == {
        "settings": "not allowed; no answer",
        "epochs": "old broker",
    }
    assert health.ready


def test_it_is_not_ready_any_more_once_it_stops() -> None:
    health = merged([worker(0)], stopping=True)
    assert health.checks == {"worker 0": None, "workers": None, "running": "shutting down"}


@pytest.mark.parametrize(
    ("one", "problem"),
    [
        (worker(1), None),
        (worker(1, health=BEHIND), "catalogue: not caught up"),
        (worker(1, health=None), "running; it does not answer"),
        (DEAD, "restarting; it ended by SIGKILL"),
        (worker(1, State.STARTING, listening=False, health=None), "starting"),
        (worker(1, listening=False), "it accepts no connections yet"),
    ],
)
def test_what_is_wrong_with_a_worker_is_said_in_words(
    one: WorkerHealth, problem: str | None
) -> None:
    assert one.problem == problem
