"""What does not move is seen, said once, and shown until it moves again."""

from __future__ import annotations

import asyncio
import logging

import pytest
from support.fakes import T0
from support.lookout import lookout
from support.settling import settle

from operations.observation.clock import Clock
from operations.observation.watchdog import Look, Watch


class Stage:
    """A watch over what a test says."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.looks: list[Look] = []
        self.lags: list[float] = []
        self.watch = Watch(
            clock=Clock(loop.time, lambda: T0),
            actors=lambda: self.looks,
            on_tick=self.lags.append,
        )

    async def tick(self, times: int = 1, lag: float = 0.0) -> None:
        for _ in range(times):
            await asyncio.sleep(1)
            await self.watch.tick(lag)

    def kinds(self) -> list[str]:
        return [incident.kind for incident in self.watch.view().stuck]


def carrying(deadline: float, *, name: str = "one", mailbox: int = 0, handled: int = 0) -> Look:
    return Look(name, "an ItemCensor", mailbox, handled, deadline, f"takedown-{name}", "item-1")


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "takedown.watch"]


async def test_a_takedown_past_its_deadline_is_stuck_and_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    stage = Stage()
    stage.looks = [carrying(0.2)]
    await stage.tick()
    assert stage.kinds() == [], "once may be a moment after a pause"
    await stage.tick(5)

    (incident,) = stage.watch.view().stuck
    assert incident.kind == "overdue"
    assert (incident.actor_id, incident.takedown_id) == ("one", "takedown-one")
    assert incident.lasted_seconds == pytest.approx(6 - 0.2)
    assert stage.watch.stuck == {"one"}
    assert stage.watch.counts["overdue"] == 1
    assert said(caplog) == ["Stuck: an ItemCensor has not answered its takedown by the deadline"]

    stage.looks = []
    await stage.tick()
    assert stage.watch.view().stuck == ()
    assert stage.watch.stuck == frozenset()
    (past,) = stage.watch.view().past
    assert past.ended_at is not None
    assert said(caplog)[1:] == [
        "Not stuck any more: an ItemCensor has not answered its takedown by the deadline"
    ]


async def test_one_that_is_in_time_or_a_little_late_is_not_stuck() -> None:
    stage = Stage()
    stage.looks = [carrying(1000.0), carrying(3.6, name="late")]
    await stage.tick(4)
    assert stage.kinds() == []


async def test_everything_that_is_overdue_after_a_pause_is_not_stuck_if_it_moves() -> None:
    stage = Stage()
    stage.looks = [carrying(5.0, name=str(n), mailbox=1) for n in range(100)]
    await asyncio.sleep(15)
    await stage.watch.tick(14.0)
    stage.looks = []
    await stage.tick()
    assert stage.watch.counts["overdue"] == 0
    assert stage.watch.counts["mailbox"] == 0
    assert stage.watch.counts["loop-lag"] == 1


async def test_a_mailbox_that_does_not_drain_is_stuck() -> None:
    stage = Stage()
    stage.looks = [carrying(1000.0, mailbox=3, handled=7)]
    await stage.tick(2)
    assert stage.kinds() == []
    await stage.tick()
    assert stage.kinds() == ["mailbox"]
    assert "3 messages wait" in stage.watch.view().stuck[0].detail


async def test_a_mailbox_that_is_long_and_drains_is_not_stuck() -> None:
    stage = Stage()
    for handled in range(20):
        stage.looks = [carrying(1000.0, mailbox=500, handled=handled)]
        await stage.tick()
    assert stage.kinds() == []


async def test_a_mailbox_that_drains_again_ends_its_incident() -> None:
    stage = Stage()
    stage.looks = [carrying(1000.0, mailbox=3, handled=7)]
    await stage.tick(4)
    stage.looks = [carrying(1000.0, mailbox=3, handled=8)]
    await stage.tick()
    assert stage.kinds() == []
    assert [incident.kind for incident in stage.watch.view().past] == ["mailbox"]


async def test_a_loop_that_lags_is_one_incident_until_it_does_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = Stage()
    await stage.tick(3, lag=2.0)
    assert stage.kinds() == ["loop-lag"]
    assert stage.watch.counts["loop-lag"] == 1
    assert said(caplog) == ["Stuck: the event loop was held up for 2.0 s"]
    await stage.tick(lag=0.1)
    assert stage.kinds() == []
    assert stage.lags == [2.0, 2.0, 2.0, 0.1]


async def test_ten_thousand_that_are_stuck_do_not_fill_the_log_or_the_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = Stage()
    stage.looks = [carrying(0.0, name=str(n)) for n in range(10_000)]
    await stage.tick(3)
    assert len(said(caplog)) == 11
    assert said(caplog)[-1] == "Stuck: 9990 more actors at the same time"
    view = stage.watch.view()
    assert (len(view.stuck), view.stuck_count) == (100, 10_000)
    stage.looks = []
    await stage.tick()
    assert len(stage.watch.view().past) == 100
    assert stage.watch._suspicions == {}


async def test_its_own_task_ticks_once_a_second_and_sees_the_loop_held_up() -> None:
    stage = Stage()
    task = asyncio.create_task(stage.watch.run())
    await asyncio.sleep(3.5)
    assert stage.lags == [0.0, 0.0, 0.0]
    task.cancel()
    await asyncio.wait([task])


async def test_a_defect_while_watching_is_logged_and_does_not_end_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = Stage()

    def broken() -> list[Look]:
        raise ValueError("broken")

    stage.watch._actors = broken
    task = asyncio.create_task(stage.watch.run())
    await asyncio.sleep(2.5)
    assert said(caplog) == ["Defect while watching"] * 2
    assert not task.done()
    task.cancel()
    await asyncio.wait([task])


async def test_a_real_censor_whose_timer_is_lost_is_found() -> None:
    async with lookout() as look:
        asked = look.office.ask(seconds=2)
        await settle()
        censor = look.office.carrier().actor()
        assert censor is not None
        censor.timers.cancel_all()
        await look.tick(5)
        incidents = look.observatory.incidents()
        assert [incident.kind for incident in incidents.stuck] == ["overdue"]
        row = look.observatory.actor(censor.actor_urn)
        assert row is not None
        assert row.actor.stuck
        assert row.actor.deadline_left_seconds == -3
        look.office.delete("a", "b")
        await settle()
        await look.tick()
        assert look.observatory.incidents().stuck == ()
        assert asked.done()
