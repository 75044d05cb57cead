"""The pool grows to its maximum, and reuses before it grows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from support.fakes import FakeReply, takedown

from coordinator.pool import CensorPool


@dataclass(frozen=True)
class Ref:
    """As much of an actor's ref as the pool looks at."""

    actor_urn: str


@dataclass
class Starter:
    started: list[Ref] = field(default_factory=list)

    def __call__(self) -> Any:
        self.started.append(Ref(f"urn:{len(self.started)}"))
        return self.started[-1]


def pool(maximum: int) -> tuple[CensorPool, list[Ref]]:
    starter = Starter()
    return CensorPool(start=starter, maximum=maximum), starter.started


def take(pool: CensorPool) -> Any:
    return pool.take(takedown(), FakeReply())


def give_back(pool: CensorPool, *censors: Any) -> None:
    for censor in censors:
        assert pool.finish(censor.actor_urn) is not None
        pool.put_back(censor)


def test_nothing_is_started_before_it_is_needed() -> None:
    own, started = pool(3)
    assert started == []
    assert (own.maximum, own.idle, own.in_flight) == (3, 0, 0)


def test_it_grows_to_its_maximum_and_then_has_none() -> None:
    own, started = pool(3)
    assert len({take(own) for _ in range(3)}) == 3
    assert take(own) is None
    assert take(own) is None
    assert len(started) == 3
    assert (own.idle, own.in_flight) == (0, 3)


def test_it_reuses_before_it_grows() -> None:
    own, started = pool(3)
    censor = take(own)
    give_back(own, censor)
    assert (own.idle, own.in_flight) == (1, 0)
    assert take(own) is censor
    assert len(started) == 1
    assert (own.idle, own.in_flight) == (0, 1)


def test_the_last_one_back_is_the_first_one_out() -> None:
    own, _ = pool(3)
    one, two, three = (take(own) for _ in range(3))
    give_back(own, two, three, one)
    assert [take(own) for _ in range(3)] == [one, three, two]


def test_a_finished_takedown_is_known_no_more_and_its_censor_is_not_idle_yet() -> None:
    own, _ = pool(1)
    mine, reply = takedown(), FakeReply()
    censor = own.take(mine, reply)
    assert censor is not None
    entry = own.find(censor.actor_urn)
    assert entry is not None
    assert (entry.censor, entry.takedown, entry.reply) == (censor, mine, reply)
    assert own.finish(censor.actor_urn) is entry
    assert own.finish(censor.actor_urn) is None
    assert own.find(censor.actor_urn) is None
    assert (own.idle, own.in_flight) == (0, 0)


def test_a_removed_censor_is_replaced_by_a_new_one_when_it_is_needed() -> None:
    own, started = pool(2)
    one, two = take(own), take(own)
    give_back(own, one)
    own.remove(one.actor_urn)
    own.remove(two.actor_urn)
    assert (own.idle, own.in_flight) == (0, 0)
    assert len(started) == 2
    assert take(own) is started[2]
    assert take(own) is started[3]
    assert take(own) is None


def test_removing_or_finishing_what_is_not_there_is_harmless() -> None:
    own, _ = pool(1)
    own.remove("nobody")
    assert own.finish("nobody") is None
    assert own.find("nobody") is None


def test_a_censor_that_is_put_back_twice_is_idle_once() -> None:
    own, _ = pool(2)
    censor = take(own)
    give_back(own, censor)
    own.put_back(censor)
    assert own.idle == 1


def test_clearing_gives_back_what_was_in_flight_and_every_censor() -> None:
    own, started = pool(3)
    one, two, three = (take(own) for _ in range(3))
    give_back(own, two)
    in_flight, censors = own.clear()
    assert [entry.censor for entry in in_flight] == [one, three]
    assert {censor.actor_urn for censor in censors} == {ref.actor_urn for ref in started}
    assert len(censors) == 3
    assert (own.idle, own.in_flight) == (0, 0)
    assert own.clear() == ((), ())


def test_a_pool_of_one_hands_out_one_at_a_time() -> None:
    own, started = pool(1)
    for _ in range(100):
        censor = take(own)
        assert take(own) is None
        give_back(own, censor)
    assert len(started) == 1
