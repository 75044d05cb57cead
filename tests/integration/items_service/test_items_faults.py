from __future__ import annotations

import re

import pytest

from demo.items_service.faults import REORDER_SPREAD, FaultInjector, Faults


def test_no_faults_publish_each_event_once_and_at_once() -> None:
    injector = FaultInjector(Faults())
    assert [injector.delays() for _ in range(50)] == [(0.0,)] * 50


def test_the_command_line_names_every_fault() -> None:
    text = "latency=0.2, jitter=0.1,drop=0.05,duplicate=1,reorder=yes,never_delete=vault|a:b,seed=7"
    text += ",work=0.5,slow=archive|c:d,slow_work=2"
    assert Faults.parse(text) == Faults(
        latency=0.2,
        jitter=0.1,
        drop=0.05,
        duplicate=1.0,
        reorder=True,
        never_delete=frozenset({"vault", "a:b"}),
        slow=frozenset({"archive", "c:d"}),
        work=0.5,
        slow_work=2.0,
        seed=7,
    )


def test_nothing_at_all_means_no_faults() -> None:
    assert Faults.parse(" ") == Faults()


def test_a_bare_reorder_means_yes() -> None:
    assert Faults.parse("reorder").reorder


@pytest.mark.parametrize(
    ("text", "culprit"),
    [
        ("latency=fast", "latency=fast"),
        ("latency", "latency"),
        ("latency=-1", "latency"),
        ("jitter=nan", "jitter"),
        ("jitter=inf", "jitter"),
        ("drop=1.5", "drop"),
        ("duplicate=2", "duplicate"),
        ("reorder=maybe", "reorder=maybe"),
        ("never_delete=", "never_delete="),
        ("never_delete=a||b", "never_delete"),
        ("slow=a||b", "slow"),
        ("work=-1", "work"),
        ("slow_work=-1", "slow_work"),
        ("seed=1.5", "seed=1.5"),
        ("speed=9", "speed=9"),
        ("drop=0.1,drop=0.2", "drop=0.2"),
    ],
)
def test_a_bad_part_is_named(text: str, culprit: str) -> None:
    with pytest.raises(ValueError, match=re.escape(culprit)):
        Faults.parse(text)


def test_latency_and_jitter_add_up() -> None:
    injector = FaultInjector(Faults(latency=0.2, jitter=0.1, seed=1))
    delays = [delay for _ in range(200) for delay in injector.delays()]
    assert min(delays) >= 0.2
    assert max(delays) <= 0.3
    assert len(set(delays)) > 100


def test_a_container_works_for_its_time_and_a_slow_one_by_its_id_or_type_for_longer() -> None:
    injector = FaultInjector(
        Faults(work=0.2, slow=frozenset({"archive", "group:x"}), slow_work=2, seed=1)
    )
    for container_id, container_type in (("archive:1", "archive"), ("group:x", "group")):
        work = [injector.work(container_id, container_type) for _ in range(50)]
        assert 1 <= min(work) < max(work) <= 3
    work = [injector.work("group:y", "group") for _ in range(50)]
    assert 0.1 <= min(work) < max(work) <= 0.3


def test_without_faults_no_container_takes_any_time() -> None:
    assert FaultInjector(Faults()).work("group:y", "group") == 0.0


def test_a_drop_of_one_loses_everything() -> None:
    injector = FaultInjector(Faults(drop=1.0))
    assert [injector.delays() for _ in range(20)] == [()] * 20


def test_drops_come_about_as_often_as_told() -> None:
    injector = FaultInjector(Faults(drop=0.25, seed=1))
    dropped = sum(injector.delays() == () for _ in range(4000))
    assert 800 < dropped < 1200


def test_a_duplicate_of_one_publishes_everything_twice() -> None:
    injector = FaultInjector(Faults(duplicate=1.0))
    assert injector.delays() == (0.0, 0.0)


def test_reorder_holds_each_event_back_for_its_own_time() -> None:
    injector = FaultInjector(Faults(reorder=True, seed=1))
    delays = [delay for _ in range(50) for delay in injector.delays()]
    assert delays != sorted(delays)
    assert 0 <= min(delays) <= max(delays) <= REORDER_SPREAD


def test_the_same_seed_throws_the_same_dice() -> None:
    faults = Faults(jitter=1, drop=0.3, duplicate=0.3, reorder=True, seed=42)
    one, other = FaultInjector(faults), FaultInjector(faults)
    thrown = [one.delays() for _ in range(100)]
    assert thrown == [other.delays() for _ in range(100)]
    one.faults = faults
    assert [one.delays() for _ in range(100)] == thrown


def test_a_container_is_refused_by_its_id_or_its_type() -> None:
    faults = Faults(never_delete=frozenset({"vault", "group:x"}))
    assert faults.refuses("anything", "vault")
    assert faults.refuses("group:x", "group")
    assert not faults.refuses("group:y", "group")
