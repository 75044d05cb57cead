"""What the log and `/readyz` say within 5 s when a real Apache Kafka does not let us in."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.brokers import drive, running_kafka
from support.diagnosed import WITHIN, explains
from support.observed import logged
from support.platform import Names, confirm, platform
from support.served import Served, served

from bus.kafka.connection import Connection
from bus.kafka.topics import Topic, ensure_topics
from dev.apache_kafka.certificates import Authority
from dev.apache_kafka.cluster import ApacheKafka
from dev.apache_kafka.listeners import Listener

pytestmark = pytest.mark.apache

SECRET = "correct horse"  # noqa: S105 - the broker's own, and of this test only
WRONG = "wrong battery"
PROTOCOL = "TAKEDOWN_KAFKA_SECURITY_PROTOCOL"
MECHANISM = "TAKEDOWN_KAFKA_SASL_MECHANISM"

GRANT = re.compile(
    r"`kafka-acls\.sh --bootstrap-server (?P<servers>\S+) --add --allow-principal (?P<who>\S+)"
    r"(?P<operations>(?: --operation \w+)+) --topic (?P<topic>\S+)`"
)

Settings = Mapping[str, object]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def secure(prepared: None, authority: Authority) -> Iterator[ApacheKafka]:  # noqa: ARG001
    kafka = ApacheKafka(
        tls=authority.broker("127.0.0.1"),
        users={"alice": SECRET, "bob": SECRET},
        access_lists=True,
    )
    with running_kafka(kafka):
        drive(kafka.deny_on_cluster("bob", "create"))
        yield kafka


def login(word: str = SECRET, mechanism: str = "SCRAM-SHA-512") -> dict[str, object]:
    return {
        "kafka_security_protocol": "SASL_PLAINTEXT",
        "kafka_sasl_mechanism": mechanism,
        "kafka_sasl_username": "alice",
        "kafka_sasl_password": word,
    }


def login_over_tls(authority: Authority) -> dict[str, object]:
    tls = {"kafka_security_protocol": "SASL_SSL", "kafka_ssl_ca": authority.certificate}
    return {**login(), **tls}


async def is_explained(
    servers: str, *words: str, settings: Settings | None = None, names: Names | None = None
) -> None:
    async with served(servers, names or Names(), ready=False, settings=settings or {}) as service:
        await explains(service, *words)
    says_no_secret(service)


def says_no_secret(service: Served) -> None:
    for secret in (SECRET, WRONG):
        assert secret not in service.process.text()


# ------------------------------------------------------------------------------ the connection


async def test_an_advertised_address_that_cannot_be_reached_is_named(secure: ApacheKafka) -> None:
    address = secure.address(1, Listener.PROXIED)  # it advertises a proxy that does not run
    where = f"broker 1 at {secure.advertised(1, Listener.PROXIED)}"
    given = f"in the cluster's metadata, given by {address}"
    await is_explained(address, where, given, "Connection refused", "advertised.listeners")


@pytest.mark.parametrize(
    ("listener", "words"),
    [
        (Listener.SSL, (f"Set {PROTOCOL} to SSL",)),
        (
            Listener.SASL_SSL,
            (f"Set {PROTOCOL} to SASL_SSL", f"{MECHANISM} to SCRAM-SHA-512 or OAUTHBEARER"),
        ),
    ],
)
async def test_a_listener_with_tls_is_recognised_without_tls(
    listener: Listener, words: tuple[str, ...], secure: ApacheKafka
) -> None:
    servers = secure.bootstrap(listener)
    await is_explained(servers, servers, "TLS alert", "The port uses TLS", *words)


@pytest.mark.parametrize(
    ("listener", "wanted"),
    [(Listener.PLAINTEXT, "PLAINTEXT"), (Listener.SASL_PLAINTEXT, "SASL_PLAINTEXT")],
)
async def test_a_listener_without_tls_is_recognised_with_tls(
    listener: Listener, wanted: str, secure: ApacheKafka, authority: Authority
) -> None:
    servers = secure.bootstrap(listener)
    words = ("without TLS, it answers as Kafka does", f"{PROTOCOL} to {wanted},")
    await is_explained(servers, servers, *words, settings=login_over_tls(authority))


async def test_a_listener_that_wants_a_login_is_recognised_without_one(
    secure: ApacheKafka,
) -> None:
    await is_explained(
        secure.bootstrap(Listener.SASL_PLAINTEXT),
        "wants a login",
        f"Set {PROTOCOL} to SASL_PLAINTEXT",
        f"{MECHANISM} to SCRAM-SHA-512 or SCRAM-SHA-256",
    )


async def test_a_listener_that_wants_a_login_is_recognised_with_tls_and_without_a_login(
    secure: ApacheKafka, authority: Authority
) -> None:
    settings = {"kafka_security_protocol": "SSL", "kafka_ssl_ca": authority.certificate}
    words = ("wants a login", f"Set {PROTOCOL} to SASL_SSL")
    await is_explained(secure.bootstrap(Listener.SASL_SSL), *words, settings=settings)


async def test_a_listener_that_has_no_login_is_recognised_with_one(secure: ApacheKafka) -> None:
    servers = secure.bootstrap(Listener.PLAINTEXT)
    words = ("ILLEGAL_SASL_STATE", "has no login", f"Set {PROTOCOL} to PLAINTEXT")
    await is_explained(servers, *words, settings=login())


async def test_a_wrong_password_is_named_with_its_settings(secure: ApacheKafka) -> None:
    await is_explained(
        secure.bootstrap(Listener.SASL_PLAINTEXT),
        "it refuses the login",
        "invalid credentials",
        "'alice' by SCRAM-SHA-512",
        "TAKEDOWN_KAFKA_SASL_PASSWORD",
        settings=login(WRONG),
    )


async def test_the_mechanisms_that_a_listener_offers_are_named(secure: ApacheKafka) -> None:
    await is_explained(
        secure.bootstrap(Listener.SASL_PLAINTEXT),
        "it offers: SCRAM-SHA-",
        "does not offer our SASL mechanism PLAIN",
        f"Set {MECHANISM} to SCRAM-SHA-512 or SCRAM-SHA-256",
        settings=login(mechanism="PLAIN"),
    )


@pytest.mark.parametrize("expired", [False, True])
async def test_a_certificate_that_the_broker_demands_is_named(
    expired: bool, secure: ApacheKafka, authority: Authority
) -> None:
    settings = {"kafka_security_protocol": "SSL", "kafka_ssl_ca": authority.certificate}
    words = ["it ends TLS with the alert", "TAKEDOWN_KAFKA_SSL_CERTIFICATE"]
    if expired:
        identity = authority.client("expired", ends=datetime.now(UTC) - timedelta(hours=1))
        settings |= {"kafka_ssl_certificate": identity.certificate, "kafka_ssl_key": identity.key}
        words.append("expired at")
    await is_explained(secure.bootstrap(Listener.SSL), *words, settings=settings)


# ----------------------------------------------------------------------------- permissions


async def make_topics(kafka: ApacheKafka, names: Names) -> None:
    topics = [Topic(name, 3) for name in (names.reported, names.deleted)]
    topics.append(Topic(names.published, 3, config={"cleanup.policy": "compact"}))
    await ensure_topics(Connection(kafka.bootstrap_servers), topics)


async def obey(kafka: ApacheKafka, text: str, user: str = "alice") -> list[tuple[str, str]]:
    """Do what the command in a text does; returns the topic and each operation that it grants."""
    commands = [match.groupdict() for match in GRANT.finditer(text)]
    assert commands, f"no command in: {text}"
    granted = []
    for command in commands:
        assert command["who"] == f"User:{user}"
        assert command["servers"] == kafka.bootstrap(Listener.SASL_PLAINTEXT)
        for operation in command["operations"].split(" --operation ")[1:]:
            name = re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower()
            await kafka.allow(user, command["topic"], name)
            granted.append((command["topic"], operation))
    return granted


@pytest.mark.parametrize(
    ("which", "allowed", "check", "missing"),
    [
        ("reported", ("describe",), "kafka producer", ["Write"]),
        ("deleted", ("describe", "describe_configs"), "kafka consumer", ["Read"]),
        ("published", ("describe", "write"), "catalogue", ["Read"]),
        ("reported", ("create",), "kafka producer", ["Describe", "Write", "DescribeConfigs"]),
        ("deleted", ("create",), "kafka consumer", ["Describe", "Read", "DescribeConfigs"]),
        ("published", ("create",), "catalogue", ["Describe", "Read", "DescribeConfigs"]),
    ],
)
async def test_a_missing_permission_is_named_with_the_command_that_grants_it(
    which: str,
    allowed: tuple[str, ...],
    check: str,
    missing: list[str],
    secure: ApacheKafka,
    names: Names,
) -> None:
    await make_topics(secure, names)
    topic = getattr(names, which)
    for operation in allowed:  # and with that, nothing else on this topic
        await secure.allow("alice", topic, operation)
    servers = secure.bootstrap(Listener.SASL_PLAINTEXT)
    settings = {**login(), "topics_create": "false"}
    async with served(servers, names, ready=False, settings=settings) as service:
        text = await explains(service, "User:alice may not", topic, checks=(check,))
        granted = await obey(secure, text)
        assert granted == [(topic, operation) for operation in missing]
        await service.until_ready(within=15)
        async with platform(secure.bootstrap_servers, names, on_request=confirm) as items:
            assert (await service.take_down(await service.item(items, 2))).status == 200
            await service.check(secure.bootstrap_servers, names)
    says_no_secret(service)


async def safeguards(service: Served) -> dict[str, Any]:
    async with service.http.get(f"{service.admin}/readyz") as answer:
        body = await answer.json()
    return {str(each["name"]): each for each in body["missingSafeguards"]}


@pytest.mark.parametrize("which", ["reported", "deleted", "published"])
async def test_settings_that_we_may_not_read_are_named_with_the_command_that_allows_it(
    which: str, secure: ApacheKafka, names: Names
) -> None:
    await make_topics(secure, names)
    topic = getattr(names, which)
    for operation in ("describe", "read", "write"):
        await secure.allow("alice", topic, operation)
    servers = secure.bootstrap(Listener.SASL_PLAINTEXT)
    async with served(servers, names, settings=login()) as service:
        event = await logged(
            service.process,
            lambda event: f"Safeguard missing: {topic}: settings" in str(event["event"]),
            within=WITHIN,
        )
        assert await obey(secure, str(event["event"])) == [(topic, "DescribeConfigs")]
        assert "kafka-acls.sh" in str((await safeguards(service))[f"{topic}: settings"])


async def test_topics_that_we_may_not_create_are_named_with_the_command_that_allows_it(
    secure: ApacheKafka, names: Names
) -> None:
    for topic in (names.reported, names.deleted, names.published):
        for operation in ("describe", "read", "write", "describe_configs"):
            await secure.allow("bob", topic, operation)
    servers = secure.bootstrap(Listener.SASL_PLAINTEXT)
    settings = {**login(), "kafka_sasl_username": "bob"}
    async with served(servers, names, ready=False, settings=settings) as service:
        granted: set[tuple[str, str]] = set()
        while len(granted) < 3:  # one after the other
            text = await explains(service, "cannot be created")
            granted |= set(await obey(secure, text, "bob"))
            await asyncio.sleep(1)
        topics = (names.reported, names.deleted, names.published)
        assert granted == {(topic, "Create") for topic in topics}


async def test_a_permission_that_is_withdrawn_while_we_run_is_named(
    secure: ApacheKafka, names: Names
) -> None:
    await make_topics(secure, names)
    servers = secure.bootstrap(Listener.SASL_PLAINTEXT)
    async with (
        served(servers, names, settings=login()) as service,
        platform(secure.bootstrap_servers, names, on_request=confirm) as items,
    ):
        item_id = await service.item(items, 2)
        await secure.allow("alice", names.reported, "describe")
        await asyncio.sleep(0.5)  # until the broker's own copy of the lists has it
        asked = await service.take_down(item_id)
        assert asked.status == 502
        assert "TopicAuthorizationFailed" in asked.got.body["detail"], asked.got.body["detail"]
        text = await explains(service, "may not Write", checks=("kafka producer",))
        asked = await service.take_down(item_id)
        assert asked.status == 503
        plain = "kafka producer: requests cannot be published now; nothing was published"
        assert asked.got.body["detail"] == plain
        await obey(secure, text)
        await service.until_ready(within=15)
        assert (await service.take_down(item_id)).status == 200
        await service.check(secure.bootstrap_servers, names)


# ----------------------------------------------------------------------------- renewed files


async def test_a_certificate_that_expires_is_renewed_without_a_restart_of_the_service(
    secure: ApacheKafka, authority: Authority, names: Names
) -> None:
    lifetime = timedelta(seconds=20)
    ends = datetime.now(UTC) + lifetime
    identity = authority.client("renewed", ends=ends)
    settings = {
        "kafka_security_protocol": "SSL",
        "kafka_ssl_ca": authority.certificate,
        "kafka_ssl_certificate": identity.certificate,
        "kafka_ssl_key": identity.key,
    }
    servers = secure.bootstrap(Listener.SSL)
    async with served(servers, names, settings=settings) as service:
        async with platform(secure.bootstrap_servers, names, on_request=confirm) as items:
            assert (await service.take_down(await service.item(items, 2))).status == 200
            await asyncio.sleep((ends - datetime.now(UTC)).total_seconds() + 1)
            # Kafka looks at a certificate when a connection begins.
            assert (await service.take_down(await service.item(items, 2))).status == 200
        await secure.restart(1)
        await explains(service, "TAKEDOWN_KAFKA_SSL_CERTIFICATE", "expired at", within=15)
        authority.client("renewed")
        await service.until_ready()
        async with platform(secure.bootstrap_servers, names, on_request=confirm) as items:
            assert (await service.take_down(await service.item(items, 2))).status == 200
        await service.check(secure.bootstrap_servers, names)
