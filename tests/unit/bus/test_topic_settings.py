"""Which topic settings prevent readiness, and what follows if they are not known; virtual clock."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import IncompatibleBrokerVersion, KafkaConnectionError

from bus.kafka.connection import Clients, Connection
from bus.kafka.safeguards import Safeguards
from bus.kafka.topic_settings import TopicChecks

PUBLISHED, REPORTED, DELETED = "items", "requests", "deletions"
TIMEOUT, INTERVAL, DEADLINE = 3.0, 60.0, 10.0
NOT_ALLOWED, UNKNOWN_TOPIC, SERVER_ERROR = 29, 3, -1
COMPACT = {"cleanup.policy": "compact", "retention.ms": "604800000", "retention.bytes": "-1"}
DELETE = COMPACT | {"cleanup.policy": "delete"}


class Broker:
    """Reports what a test puts into it.

    Attributes:
        settings: of each topic; an error code instead of settings refuses them.
        failure: raised by each request instead of an answer; `hang` never answers.
    """

    def __init__(self, published: dict[str, str] | int | None = None) -> None:
        self.settings: dict[str, dict[str, str] | int] = {
            PUBLISHED: COMPACT if published is None else published,
            REPORTED: DELETE,
            DELETED: DELETE,
        }
        self.failure: Exception | str | None = None
        self.requests = 0
        self.open = 0

    def admin(self, **_options: object) -> Broker:
        return self

    async def start(self) -> None:
        self.open += 1

    async def close(self) -> None:
        self.open -= 1

    async def describe_configs(self, resources: list[Any]) -> list[Any]:
        self.requests += 1
        if self.failure == "hang":
            await asyncio.Event().wait()
        if isinstance(self.failure, Exception):
            raise self.failure
        assert all(resource.configs is None for resource in resources), "see the module"
        found = []
        for resource in resources:
            settings = self.settings[resource.name]
            code = settings if isinstance(settings, int) else 0
            entries = settings.items() if isinstance(settings, dict) else ()
            found.append((code, "", 2, resource.name, [(*entry, False) for entry in entries]))
        return [SimpleNamespace(resources=found)]


@asynccontextmanager
async def checking(
    broker: Broker, *, found: bool = True, published: str | None = PUBLISHED, **more: Any
) -> AsyncIterator[tuple[TopicChecks, Safeguards]]:
    """Checks that run, and by default have had time for their first answer."""
    safeguards = Safeguards()
    checks = TopicChecks(
        Connection("kafka:9092", clients=Clients(admin=broker.admin)),
        published=published,
        events=(REPORTED, DELETED),
        safeguards=safeguards,
        deadline=DEADLINE,
        interval=INTERVAL,
        timeout=TIMEOUT,
        **more,
    )
    task = asyncio.create_task(checks.run())
    if found:
        checks.check_soon()
        await asyncio.sleep(0.01)
    try:
        yield checks, safeguards
    finally:
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert broker.open == 0, "each connection is closed"


# ---------------------------------------------------------------------- which settings are right


@pytest.mark.parametrize(
    "settings",
    [
        COMPACT,
        COMPACT | {"retention.ms": "1"},
        DELETE | {"retention.ms": "-1"},
        {"cleanup.policy": "compact,delete", "retention.ms": "-1", "retention.bytes": "-1"},
        {"cleanup.policy": "compact"},
    ],
    ids=str,
)
async def test_a_topic_that_retains_every_items_list_is_ready(settings: dict[str, str]) -> None:
    async with checking(Broker(settings)) as (checks, safeguards):
        assert checks.why_not_ready() is None
        assert safeguards.list() == {}


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (DELETE, "cleanup.policy=delete, retention.ms=604800000"),
        (
            DELETE | {"retention.ms": "-1", "retention.bytes": "1073741824"},
            "cleanup.policy=delete, retention.bytes=1073741824",
        ),
        (
            DELETE | {"cleanup.policy": "compact,delete"},
            "cleanup.policy=compact,delete, retention.ms=604800000",
        ),
        (DELETE | {"cleanup.policy": "delete, compact", "retention.ms": "0"}, "retention.ms=0"),
    ],
    ids=str,
)
async def test_a_topic_that_deletes_old_lists_is_not_ready_and_the_fix_is_named(
    settings: dict[str, str], named: str
) -> None:
    async with checking(Broker(settings)) as (checks, _):
        problem = checks.why_not_ready()
        assert problem is not None
        assert PUBLISHED in problem
        assert named in problem
        assert (
            "`kafka-configs.sh --bootstrap-server kafka:9092 --alter --entity-type topics "
            "--entity-name items --add-config cleanup.policy=compact`" in problem
        )
        assert "TAKEDOWN_CATALOGUE_MAY_EXPIRE=true" in problem


async def test_it_is_ready_with_a_retention_where_old_items_count_as_gone() -> None:
    async with checking(Broker(DELETE), may_expire=True) as (checks, _):
        assert checks.why_not_ready() is None


async def test_a_policy_that_is_changed_while_it_runs_is_noticed() -> None:
    broker = Broker()
    async with checking(broker) as (checks, _):
        broker.settings[PUBLISHED] = DELETE
        await asyncio.sleep(INTERVAL)
        assert checks.why_not_ready() is not None
        broker.settings[PUBLISHED] = COMPACT
        await asyncio.sleep(INTERVAL)
        assert checks.why_not_ready() is None
        assert broker.requests == 3


async def test_it_is_checked_at_once_when_kafka_is_found_again() -> None:
    broker = Broker()
    async with checking(broker) as (checks, _):
        broker.settings[PUBLISHED] = DELETE
        checks.check_soon()
        await asyncio.sleep(0.01)
        assert checks.why_not_ready() is not None


async def test_what_is_not_read_from_the_topic_is_not_checked() -> None:
    broker = Broker(DELETE)
    del broker.settings[PUBLISHED]
    async with checking(broker, published=None) as (checks, safeguards):
        assert checks.why_not_ready() is None
        assert checks.delete_retention() is None
        assert safeguards.list() == {}


# ---------------------------------------------------------------------------- what is not known


async def test_it_is_not_ready_before_the_first_answer() -> None:
    async with checking(Broker(), found=False) as (checks, _):
        assert checks.why_not_ready() == "the settings of items are not known yet"
        checks.check_soon()
        assert checks.why_not_ready() is not None
        await asyncio.sleep(0.01)
        assert checks.why_not_ready() is None


async def test_nothing_is_asked_before_kafka_is_found() -> None:
    broker = Broker()
    async with checking(broker, found=False):
        await asyncio.sleep(10 * INTERVAL)
        assert broker.requests == 0


@pytest.mark.parametrize("refusal", ["code", "version"])
async def test_settings_that_we_may_not_read_are_one_warning_and_ready(
    refusal: str, caplog: pytest.LogCaptureFixture
) -> None:
    broker = Broker(NOT_ALLOWED)
    if refusal == "version":
        broker.failure = IncompatibleBrokerVersion("DescribeConfigs")
    with caplog.at_level(logging.WARNING):
        async with checking(broker) as (checks, safeguards):
            assert checks.why_not_ready() is None
            assert "items: settings" in safeguards.list()
            await asyncio.sleep(10 * INTERVAL)
            assert checks.why_not_ready() is None
            assert broker.requests == 11
    lines = [record.getMessage() for record in caplog.records]
    assert len([line for line in lines if "items: settings" in line]) == 1
    assert checks.delete_retention() is None


async def test_a_permission_that_is_given_later_is_used_and_one_that_is_taken_back_is_missed() -> (
    None
):
    broker = Broker(NOT_ALLOWED)
    async with checking(broker) as (checks, safeguards):
        broker.settings[PUBLISHED] = DELETE
        await asyncio.sleep(INTERVAL)
        assert checks.why_not_ready() is not None
        assert "items: settings" not in safeguards.list()
        broker.settings[PUBLISHED] = NOT_ALLOWED
        await asyncio.sleep(INTERVAL)
        assert checks.why_not_ready() is None
        assert "items: settings" in safeguards.list()


FAILURES: dict[str, Callable[[Broker], None]] = {
    "hangs": lambda broker: setattr(broker, "failure", "hang"),
    "closes the connection": lambda broker: setattr(broker, "failure", KafkaConnectionError("x")),
    "has a defect": lambda broker: setattr(broker, "failure", ValueError("not to be decoded")),
    "fails": lambda broker: broker.settings.update({PUBLISHED: SERVER_ERROR}),
}


@pytest.mark.parametrize("fail", FAILURES.values(), ids=FAILURES)
async def test_a_broker_that_never_reports_them_prevents_readiness_for_a_bounded_time(
    fail: Callable[[Broker], None],
) -> None:
    broker = Broker()
    fail(broker)
    async with checking(broker) as (checks, safeguards):
        assert checks.why_not_ready() is not None
        await asyncio.sleep(3 * TIMEOUT + 3)
        assert checks.why_not_ready() is None
        assert "items: settings" in safeguards.list()
        requests = broker.requests
        await asyncio.sleep(INTERVAL)
        assert broker.requests - requests <= 2, "and it is not asked more often than usual"
        # When it is found again, the answer is waited for again, and is trusted.
        broker.failure = None
        broker.settings[PUBLISHED] = DELETE
        checks.check_soon()
        assert checks.why_not_ready() is not None
        await asyncio.sleep(TIMEOUT + 0.1)  # a request that hangs is not cut short
        assert "deletes old records" in str(checks.why_not_ready())


@pytest.mark.parametrize("fail", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("known", [COMPACT, DELETE], ids=["right", "wrong"])
async def test_what_was_reported_is_trusted_while_there_is_no_new_answer(
    known: dict[str, str], fail: Callable[[Broker], None]
) -> None:
    broker = Broker(known)
    async with checking(broker) as (checks, _):
        before = checks.why_not_ready()
        fail(broker)
        checks.check_soon()
        for _ in range(100):
            await asyncio.sleep(1)
            assert checks.why_not_ready() == before


async def test_a_topic_that_does_not_exist_is_waited_for() -> None:
    broker = Broker(UNKNOWN_TOPIC)
    async with checking(broker) as (checks, safeguards):
        await asyncio.sleep(INTERVAL)
        assert "not known yet" in str(checks.why_not_ready())
        assert safeguards.list() == {}
        broker.settings[PUBLISHED] = COMPACT
        await asyncio.sleep(2)
        assert checks.why_not_ready() is None


async def test_a_broker_that_does_not_report_the_policy_is_a_missing_safeguard() -> None:
    async with checking(Broker({})) as (checks, safeguards):
        assert checks.why_not_ready() is None
        assert list(safeguards.list()) == ["items: cleanup.policy"]


@pytest.mark.parametrize(
    ("settings", "seconds"),
    [
        (COMPACT | {"delete.retention.ms": "86400000"}, 86400.0),
        (COMPACT | {"delete.retention.ms": "0"}, 0.0),
        (COMPACT | {"delete.retention.ms": "soon"}, None),
        (COMPACT, None),
    ],
)
async def test_how_long_a_null_value_is_retained_is_reported_in_seconds(
    settings: dict[str, str], seconds: float | None
) -> None:
    async with checking(Broker(settings)) as (checks, _):
        assert checks.delete_retention() == seconds


# ------------------------------------------------------------------ requests and deletions


@pytest.mark.parametrize("topic", [REPORTED, DELETED])
@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (COMPACT, "cleanup.policy"),
        (COMPACT | {"cleanup.policy": "compact,delete"}, "cleanup.policy"),
        (DELETE | {"retention.ms": "69999"}, "retention.ms"),
    ],
    ids=str,
)
async def test_events_that_may_be_gone_before_they_are_read_are_a_warning(
    settings: dict[str, str], named: str, topic: str
) -> None:
    broker = Broker()
    broker.settings[topic] = settings
    async with checking(broker) as (checks, safeguards):
        assert checks.why_not_ready() is None
        assert list(safeguards.list()) == [f"{topic}: {named}"]
        broker.settings[topic] = DELETE
        await asyncio.sleep(INTERVAL)
        assert safeguards.list() == {}


@pytest.mark.parametrize("retention", ["70000", "-1"])
async def test_events_that_are_retained_for_the_deadline_and_a_minute_are_no_warning(
    retention: str,
) -> None:
    broker = Broker()
    broker.settings[DELETED] = DELETE | {"retention.ms": retention}
    async with checking(broker) as (_, safeguards):
        assert safeguards.list() == {}
