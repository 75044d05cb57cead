"""When diagnoses are made, and what is said of a part that does not work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bus.kafka.connection import Clients, Connection
from bus.kafka.diagnosis import Diagnosis
from bus.kafka.first_contact import FirstContact
from bus.kafka.permissions import Need, Operation

NEEDS = (Need("items", (Operation.Read,)), Need("requests", (Operation.Write,)))
KAFKA = Connection("kafka:9092")


class World:
    """A service, and a cluster about which diagnoses are made."""

    def __init__(self, connection: Connection = KAFKA) -> None:
        self.connected = False
        self.errors = ("", "")
        self.finding: Diagnosis | Exception = Diagnosis()
        self.takes = 0.0
        self.made: list[float] = []
        self.contact = FirstContact(
            connection,
            NEEDS,
            connected=lambda: self.connected,
            last_errors=lambda: self.errors,
            find=self._find,
        )

    async def _find(self, connection: Connection, needs: tuple[Need, ...]) -> Diagnosis:
        assert connection.bootstrap_servers == "kafka:9092"
        assert needs == NEEDS
        self.made.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.takes)
        if isinstance(self.finding, Exception):
            raise self.finding
        return self.finding

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.contact.run())
        await asyncio.sleep(0.01)
        yield
        assert not task.done()
        task.cancel()
        await asyncio.wait([task])


async def test_one_diagnosis_is_made_at_once_and_none_while_everything_works() -> None:
    world = World()
    async with world.running():
        assert len(world.made) == 1
        world.connected = True
        await asyncio.sleep(3600)
        assert len(world.made) == 1


async def test_while_nothing_is_connected_they_are_recreated_at_growing_intervals() -> None:
    world = World()
    async with world.running():
        await asyncio.sleep(60)
    pauses = [after - before for before, after in zip(world.made, world.made[1:], strict=False)]
    assert pauses[0] == pytest.approx(1)
    assert pauses == sorted(pauses)
    assert pauses[-1] == pytest.approx(5)


async def test_when_the_connection_is_lost_one_is_made_within_a_second() -> None:
    world = World()
    async with world.running():
        world.connected = True
        await asyncio.sleep(100)
        world.connected = False
        world.finding = Diagnosis("the broker is away")
        await asyncio.sleep(1)
        assert world.contact.explain("items", "silence") == "the broker is away"


async def test_what_was_found_before_is_forgotten_once_everything_works() -> None:
    world = World()
    world.finding = Diagnosis("the broker is away")
    async with world.running():
        world.connected = True
        await asyncio.sleep(10)
        assert world.contact.explain("items", "silence") == "silence"


async def test_a_missing_permission_counts_while_everything_is_connected() -> None:
    world = World()
    world.connected = True
    world.finding = Diagnosis(topics={"requests": "you may not"})
    async with world.running():
        await asyncio.sleep(10)
        assert world.contact.refused("requests") == "you may not"
        assert world.contact.refused("items") is None
        world.finding = Diagnosis()  # it is granted
        await asyncio.sleep(3)
        assert world.contact.refused("requests") is None


async def test_a_refusal_has_the_permissions_checked_and_another_error_does_not() -> None:
    world = World()
    world.connected = True
    async with world.running():
        await asyncio.sleep(10)
        world.errors = ("", "Kafka does not answer in time")
        await asyncio.sleep(10)
        assert len(world.made) == 1
        world.errors = ("", "[Error 29] TopicAuthorizationFailedError: requests")
        await asyncio.sleep(1)
        assert len(world.made) == 2
        await asyncio.sleep(100)
        assert len(world.made) == 2, "it was not refused again"


async def test_a_refusal_during_a_diagnosis_is_not_missed() -> None:
    world = World()
    world.connected = True
    world.takes = 2.0
    async with world.running():
        world.errors = ("TopicAuthorizationFailedError", "")
        await asyncio.sleep(10)
        assert len(world.made) == 2


async def explained(found: Diagnosis) -> str:
    world = World()
    world.finding = found
    async with world.running():
        return world.contact.explain("items", "silence")


async def test_what_keeps_all_parts_from_working_replaces_what_they_saw() -> None:
    assert await explained(Diagnosis("no broker", topics={"items": "no"})) == "no broker"


async def test_a_broker_among_others_is_named_besides() -> None:
    assert await explained(Diagnosis("3 is away", partial=True)) == "silence; 3 is away"


async def test_the_topic_of_the_part_comes_first_and_those_of_others_besides() -> None:
    assert await explained(Diagnosis(topics={"items": "forbidden"})) == "forbidden"
    assert await explained(Diagnosis(topics={"requests": "no"})) == "silence; no"


async def test_what_a_part_saw_is_shown_without_control_characters() -> None:
    world = World()
    async with world.running():
        assert world.contact.explain("items", "kafka\x1b[2J") == "kafka\\x1b[2J"


async def test_a_diagnosis_that_fails_or_never_ends_leaves_what_the_parts_saw(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    world.finding = ValueError("a defect")
    async with world.running():
        await asyncio.sleep(0.5)
        assert world.contact.explain("items", "silence") == "silence"
        assert "Defect in the diagnosis" in caplog.text
        world.takes = 10_000.0
        world.finding = Diagnosis("too late")
        await asyncio.sleep(100)
        assert world.contact.explain("items", "silence") == "silence"
        assert len(world.made) > 2


async def test_clients_without_real_connections_are_not_diagnosed() -> None:
    world = World(Connection("kafka:9092", clients=Clients(sockets=False)))
    async with world.running():
        await asyncio.sleep(100)
        assert world.made == []
