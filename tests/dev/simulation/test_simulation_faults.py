"""Faults: drawn from the seed, each by a name of its own."""

from __future__ import annotations

from dev.simulation.faults import Fault, Faults


def _lost(faults: Faults, items: range) -> list[int]:
    return [item for item in items if faults.strikes(Fault.EVENT_LOST, item) is not None]


def test_whether_a_fault_strikes_depends_on_the_seed_and_its_name_only() -> None:
    only = (Fault.EVENT_LOST, Fault.POISON)
    there = _lost(Faults(7, only=only), range(200))
    back = Faults(7, only=only)
    for item in range(500):
        back.strikes(Fault.POISON, item)
    assert there == sorted(_lost(back, range(199, -1, -1)))
    assert 0 < len(there) < 200
    assert there != _lost(Faults(8, only=only), range(200))


def test_the_same_operation_done_again_is_another_one() -> None:
    faults = Faults(7, only=(Fault.EVENT_DUPLICATED,))
    struck = {faults.strikes(Fault.EVENT_DUPLICATED, "a") is not None for _ in range(200)}
    assert struck == {True, False}
    assert len(set(faults.names)) == len(faults.names) == faults.struck[Fault.EVENT_DUPLICATED]


def test_how_a_fault_strikes_depends_on_its_name_only() -> None:
    one, other = (Faults(7, only=(Fault.EVENT_LOST,)) for _ in range(2))
    item = _lost(Faults(7, only=(Fault.EVENT_LOST,)), range(200))[0]
    _lost(other, range(item))
    rng, same = one.strikes(Fault.EVENT_LOST, item), other.strikes(Fault.EVENT_LOST, item)
    assert rng is not None
    assert same is not None
    assert rng.random() == same.random()


def test_what_is_not_kept_does_not_strike_and_does_not_change_the_others() -> None:
    whole = Faults(7, only=(Fault.EVENT_LOST,))
    lost = _lost(whole, range(200))
    kept = Faults(7, only=(Fault.EVENT_LOST,), keep=whole.names[1:])
    assert _lost(kept, range(200)) == lost[1:]
    assert kept.names == whole.names[1:]


def test_when_it_is_over_nothing_strikes() -> None:
    faults = Faults(7, only=tuple(Fault))
    faults.over = True
    assert all(faults.strikes(kind, n) is None for kind in Fault for n in range(50))


def test_kinds_come_alone_and_in_company_and_sometimes_not_at_all() -> None:
    sizes = {len(Faults(seed).kinds) for seed in range(300)}
    assert {0, 1} < sizes
    assert max(sizes) > len(Fault) / 2
    assert {kind for seed in range(300) for kind in Faults(seed).kinds} == set(Fault)
