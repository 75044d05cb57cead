"""Which topics are trusted: they must exist, and must not delete items' lists by themselves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from support.asking import readiness
from support.brokers import running_kafka
from support.observed import logged, scrape
from support.platform import Names, confirm, containers, new_item_id, platform, read_topic
from support.served import Served, answer_once_ready, eventually, served

from dev.apache_kafka.certificates import Authority
from dev.apache_kafka.cluster import ApacheKafka
from dev.apache_kafka.listeners import Listener

pytestmark = pytest.mark.apache

CHECKS = ("kafka producer", "kafka consumer", "catalogue")
SECRET = "correct horse"  # noqa: S105 - the broker's own, and of this test only
PARTITIONS = 3
IMPLIED: Mapping[str, object] = {"topics_create": "", "kafka_request_timeout": 3}


@pytest.fixture(scope="module")
def creating(prepared: None) -> Iterator[ApacheKafka]:  # noqa: ARG001 - asked for its effect
    """A broker that creates each topic that a client asks for, as Kafka does by default."""
    properties = {"auto.create.topics.enable": "true"}
    with running_kafka(ApacheKafka(properties=properties)) as kafka:
        yield kafka


@pytest.fixture
async def admin(creating: ApacheKafka) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=creating.bootstrap_servers)
    await admin.start()
    yield admin
    await admin.close()


async def make(admin: AIOKafkaAdminClient, *topics: str, **config: str) -> None:
    settings = {name.replace("_", "."): value for name, value in config.items()}
    made = [NewTopic(topic, PARTITIONS, 1, topic_configs=settings) for topic in topics]
    response = await admin.create_topics(made)
    assert not any(error[1] for error in response.topic_errors)


async def readyz(service: Served) -> dict[str, Any]:
    async with service.http.get(f"{service.admin}/readyz") as answer:
        body: dict[str, Any] = await answer.json()
        return body


async def takes_no_callers(service: Served) -> None:
    """It was never ready, so that its callers' port is not open yet."""
    with pytest.raises(aiohttp.ClientConnectorError):
        await service.take_down(new_item_id())


# ------------------------------------------------------------------------ topics that are missing


async def test_a_topic_whose_name_is_wrong_is_not_created_and_prevents_readiness(
    creating: ApacheKafka, admin: AIOKafkaAdminClient, names: Names
) -> None:
    await make(admin, names.reported, names.deleted, names.published)
    wrong = names.published.replace("item_published", "item_publishd")
    settings = {**IMPLIED, "topic_item_published": wrong}
    async with served(creating.bootstrap_servers, names, ready=False, settings=settings) as service:
        for check in CHECKS:
            detail = await service.until_detail(check, wrong)
            assert f"{wrong} (TAKEDOWN_TOPIC_ITEM_PUBLISHED)" in detail
            assert "TAKEDOWN_TOPICS_CREATE=true" in detail
            assert (
                f"kafka-topics.sh --bootstrap-server {creating.bootstrap_servers} --create "
                f"--topic {wrong} --partitions 6 --config cleanup.policy=compact" in detail
            )
            assert names.deleted not in detail
        await takes_no_callers(service)
        await asyncio.sleep(6)  # every client has refreshed its metadata
        assert (await service.readiness())[0] == 503
        assert wrong not in await admin.list_topics()
        said = [event["event"] for event in service.process.events() if wrong in event["event"]]
        assert said
        assert len(said) == len(set(said)), "it is not logged again and again"

        await make(admin, wrong, cleanup_policy="compact")
        await service.until_ready()


@pytest.mark.parametrize("which", ["reported", "deleted", "published"])
async def test_a_topic_that_is_deleted_while_it_runs_is_not_created_again(
    which: str, creating: ApacheKafka, admin: AIOKafkaAdminClient, names: Names
) -> None:
    await make(admin, names.reported, names.deleted)
    await make(admin, names.published, cleanup_policy="compact")
    topic = getattr(names, which)
    async with served(creating.bootstrap_servers, names, settings=IMPLIED) as service:
        async with platform(creating.bootstrap_servers, names, on_request=confirm) as items:
            await service.until_200(items)
            other = await service.item(items)
        await admin.delete_topics([topic])
        if which == "reported":  # the first takedown that needs it finds that it is missing
            await service.take_down(other, wait=1)
        await service.until_ready(503)
        checks = {
            "reported": "kafka producer",
            "deleted": "kafka consumer",
            "published": "catalogue",
        }
        detail = await service.until_detail(checks[which], topic, "missing")
        assert "TAKEDOWN_TOPICS_CREATE=true" in detail
        await asyncio.sleep(6)
        assert topic not in await admin.list_topics()
        assert (await service.readiness())[0] == 503
        assert (await service.take_down(new_item_id())).status == 503


async def test_with_workers_a_missing_topic_is_not_created_either(
    creating: ApacheKafka, admin: AIOKafkaAdminClient, names: Names
) -> None:
    settings = {**IMPLIED, "workers": 2}
    async with served(creating.bootstrap_servers, names, ready=False, settings=settings) as service:
        cause = (names.published, "TAKEDOWN_TOPICS_CREATE=true")
        await service.until_detail("workers", "worker 0", "worker 1", *cause)
        await asyncio.sleep(6)
        listed = await admin.list_topics()
        assert not {names.reported, names.deleted, names.published} & set(listed)


# ------------------------------------------------------------------- a topic that deletes lists


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({}, "cleanup.policy=delete, retention.ms=604800000"),
        ({"cleanup_policy": "compact,delete"}, "cleanup.policy=compact,delete"),
        ({"retention_ms": "-1", "retention_bytes": "1000000"}, "retention.bytes=1000000"),
    ],
    ids=["as Kafka creates it", "compact and delete", "by size"],
)
async def test_a_topic_that_deletes_old_lists_prevents_readiness_until_its_settings_are_right(
    config: dict[str, str],
    named: str,
    creating: ApacheKafka,
    admin: AIOKafkaAdminClient,
    names: Names,
) -> None:
    await make(admin, names.reported, names.deleted)
    await make(admin, names.published, **config)
    servers = creating.bootstrap_servers
    async with served(servers, names, ready=False, settings=IMPLIED) as service:
        detail = await service.until_detail("topic settings", named)
        assert (
            f"`kafka-configs.sh --bootstrap-server {servers} --alter --entity-type topics "
            f"--entity-name {names.published} --add-config cleanup.policy=compact`" in detail
        )
        assert "TAKEDOWN_CATALOGUE_MAY_EXPIRE=true" in detail
        await takes_no_callers(service)
        await logged(service.process, lambda event: named in str(event["event"]))

    async with served(
        servers, names, settings={**IMPLIED, "catalogue_may_expire": "true"}
    ) as service:
        assert (await service.take_down(new_item_id())).status == 404

    changed = {"cleanup.policy": "compact"}
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, names.published, changed)])
    async with served(servers, names, settings=IMPLIED) as service:
        assert (await readyz(service))["missingSafeguards"] == []
        assert (await scrape(service.admin)).value("takedown_missing_safeguards") == 0


async def test_an_item_whose_list_kafka_has_deleted_by_its_age_gets_no_404(
    creating: ApacheKafka, admin: AIOKafkaAdminClient, names: Names
) -> None:
    await make(admin, names.reported, names.deleted)
    await make(admin, names.published, cleanup_policy="delete", retention_ms="1000")
    servers = creating.bootstrap_servers
    async with platform(servers, names) as items:
        item_id = new_item_id()
        await items.publish_item(item_id, containers(2))

        async def is_gone() -> bool:
            return not await read_topic(servers, names.published)

        await eventually(is_gone)  # of the topic: nobody has taken the item down
        async with served(servers, names, ready=False, settings=IMPLIED) as service:
            status = await answer_once_ready(
                service, item_id, "topic settings", "cleanup.policy=delete, retention.ms=1000"
            )
            assert status != 404, "the item was published, and is where it was"
            assert status is None
            await takes_no_callers(service)


@pytest.mark.parametrize("policy", ["delete", "compact,delete"])
async def test_a_topic_without_a_limit_is_ready_whatever_its_policy_is(
    policy: str, creating: ApacheKafka, admin: AIOKafkaAdminClient, names: Names
) -> None:
    await make(admin, names.reported, names.deleted)
    await make(admin, names.published, cleanup_policy=policy, retention_ms="-1")
    async with served(creating.bootstrap_servers, names, settings=IMPLIED) as service:
        assert (await service.take_down(new_item_id())).status == 404


async def test_topics_whose_events_may_be_gone_too_early_are_listed_and_do_not_prevent_readiness(
    creating: ApacheKafka, admin: AIOKafkaAdminClient, names: Names
) -> None:
    await make(admin, names.reported, retention_ms="1000")
    await make(admin, names.deleted, cleanup_policy="compact")
    await make(admin, names.published, cleanup_policy="compact")
    async with served(
        creating.bootstrap_servers, names, settings={**IMPLIED, "workers": 2}
    ) as service:
        body = await readyz(service)
        missing = {each["name"]: each["why"] for each in body["missingSafeguards"]}
        assert set(missing) == {
            f"{names.reported}: retention.ms",
            f"{names.deleted}: cleanup.policy",
        }


# ------------------------------------------------------------------------ without permission


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def secure(prepared: None, authority: Authority) -> Iterator[ApacheKafka]:  # noqa: ARG001
    kafka = ApacheKafka(
        tls=authority.broker("127.0.0.1"), users={"alice": SECRET}, access_lists=True
    )
    with running_kafka(kafka):
        yield kafka


def login(ca: Path) -> dict[str, object]:
    return {
        "kafka_security_protocol": "SASL_SSL",
        "kafka_ssl_ca": ca,
        "kafka_sasl_mechanism": "SCRAM-SHA-512",
        "kafka_sasl_username": "alice",
        "kafka_sasl_password": SECRET,
    }


async def test_without_the_permission_to_read_the_settings_there_is_one_warning_and_it_is_ready(
    secure: ApacheKafka, authority: Authority, names: Names
) -> None:
    own = AIOKafkaAdminClient(bootstrap_servers=secure.bootstrap_servers)
    await own.start()
    try:
        # What this topic does to old lists cannot be known.
        await make(own, names.reported, names.deleted, names.published)
    finally:
        await own.close()
    await secure.deny("alice", names.published, "describe_configs")
    for operation in ("read", "describe"):
        await secure.allow("alice", names.published, operation)
    servers = secure.bootstrap(Listener.SASL_SSL)
    settings = {**IMPLIED, **login(authority.certificate)}
    async with served(servers, names, settings=settings) as service:
        name = f"{names.published}: settings"
        (missing,) = (await readyz(service))["missingSafeguards"]
        assert missing["name"] == name
        assert "not authorized" in missing["why"].lower().replace("authorised", "authorized")
        assert (await scrape(service.admin)).value("takedown_missing_safeguards") == 1
        warning = await logged(service.process, lambda event: name in str(event["event"]))
        assert warning["level"] == "warning"

        async def again() -> bool:
            return (await readiness(service.http, service.admin))[0] == 200

        await eventually(again)
        said = [line for line in service.process.lines if name in json.loads(line)["event"]]
        assert len(said) == 1
        assert (await service.take_down(new_item_id())).status == 404
