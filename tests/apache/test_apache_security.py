"""TLS and SASL to a real broker: who is let in, and what is said when we are not."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from support.brokers import drive, running_kafka
from support.measure import Measure
from support.observed import logged
from support.platform import Names, confirm, platform
from support.served import Served, eventually, served

from bus.kafka.connection import Connection
from bus.kafka.positioning import Start
from bus.kafka.reader import TopicReader
from bus.kafka.security import Security
from bus.kafka.topics import Topic, ensure_topics
from dev.apache_kafka.certificates import Authority
from dev.apache_kafka.cluster import ApacheKafka
from dev.apache_kafka.listeners import Listener

pytestmark = pytest.mark.apache

SECRET = "correct horse"  # noqa: S105 - the broker's own, and of this test only
WRONG = "wrong battery"
PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"
NOT_TOO_OFTEN = 5.0
"""Logins in a second, at most, of a service that is refused."""

Environment = Mapping[str, object]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("strange"), "stranger")


@pytest.fixture(scope="module")
def secure(prepared: None, authority: Authority) -> Iterator[ApacheKafka]:  # noqa: ARG001
    kafka = ApacheKafka(
        tls=authority.broker("127.0.0.1"),
        users={"alice": SECRET, "bob": SECRET},
        access_lists=True,
        properties={
            "listener.name.sasl_ssl.sasl.enabled.mechanisms": "SCRAM-SHA-512,OAUTHBEARER,PLAIN",
            "listener.name.sasl_ssl.plain.sasl.jaas.config": f'{PLAIN} user_alice="{SECRET}";',
        },
    )

    with running_kafka(kafka):
        drive(kafka.deny_on_cluster("bob", "create"))
        yield kafka


def login(authority: Authority, word: str = SECRET, *, user: str = "alice") -> Environment:
    return {
        "kafka_security_protocol": "SASL_SSL",
        "kafka_ssl_ca": authority.certificate,
        "kafka_sasl_mechanism": "SCRAM-SHA-512",
        "kafka_sasl_username": user,
        "kafka_sasl_password": word,
    }


def login_without_tls(mechanism: str, word: str = SECRET) -> Environment:
    return {
        "kafka_security_protocol": "SASL_PLAINTEXT",
        "kafka_sasl_mechanism": mechanism,
        "kafka_sasl_username": "alice",
        "kafka_sasl_password": word,
    }


async def make_topics(kafka: ApacheKafka, names: Names) -> None:
    topics = [Topic(name, 3) for name in (names.reported, names.deleted)]
    topics.append(Topic(names.published, 3, config={"cleanup.policy": "compact"}))
    await ensure_topics(Connection(kafka.bootstrap_servers), topics)


async def works(kafka: ApacheKafka, service: Served, names: Names) -> None:
    async with platform(kafka.bootstrap_servers, names, on_request=confirm) as items:
        for _ in range(5):
            assert (await service.take_down(await service.item(items, 3))).status == 200
    await service.check(kafka.bootstrap_servers, names)


def says_no_secret(service: Served) -> None:
    for secret in (SECRET, WRONG):
        assert secret not in service.process.text()


# --------------------------------------------------------------------------- who is let in


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "PLAIN"])
async def test_the_right_password_is_let_in_over_tls(
    mechanism: str, secure: ApacheKafka, authority: Authority, names: Names
) -> None:
    settings = {
        **login(authority),
        "kafka_sasl_mechanism": mechanism,
        "log_level": "debug",  # it says the most, and no secret
    }
    async with served(secure.bootstrap(Listener.SASL_SSL), names, settings=settings) as service:
        await works(secure, service, names)
    says_no_secret(service)


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_the_right_password_is_let_in_where_there_is_no_tls(
    mechanism: str, secure: ApacheKafka, names: Names
) -> None:
    settings = login_without_tls(mechanism)
    async with served(secure.bootstrap(Listener.SASL_PLAINTEXT), names, settings=settings) as one:
        await works(secure, one, names)
    says_no_secret(one)


async def test_a_logs_end_is_proven_in_the_quick_way_over_tls_and_with_a_password(
    secure: ApacheKafka, authority: Authority, names: Names
) -> None:
    connection = Connection(
        secure.bootstrap(Listener.SASL_SSL),
        security=Security(
            protocol="SASL_SSL",
            tls=ssl.create_default_context(cafile=authority.certificate),
            mechanism="SCRAM-SHA-512",
            username="alice",
            password=SECRET,
        ),
    )

    async def prepare() -> None:
        await ensure_topics(connection, [Topic(names.published, 3)])

    reader = TopicReader(
        connection=connection,
        topic=names.published,
        start=Start.BEGINNING,
        handle=lambda _record: None,
        prepare=prepare,
    )
    task = asyncio.create_task(reader.run())
    try:
        async with asyncio.timeout(20):
            while not reader.caught_up:  # noqa: ASYNC110 - from outside
                await asyncio.sleep(0.02)
        async with asyncio.timeout(20):
            while reader.proofs.quick < 10:
                await reader.catch_up()
        assert reader.proofs.long < 10, "while the connection was opened"
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_a_client_certificate_is_let_in(
    secure: ApacheKafka, authority: Authority, names: Names
) -> None:
    identity = authority.client("service")
    settings = {
        "kafka_security_protocol": "SSL",
        "kafka_ssl_ca": authority.certificate,
        "kafka_ssl_certificate": identity.certificate,
        "kafka_ssl_key": identity.key,
    }
    async with served(secure.bootstrap(Listener.SSL), names, settings=settings) as service:
        await works(secure, service, names)


def token(subject: str, *, lifetime: float = 60.0) -> str:
    now = time.time()
    parts: list[dict[str, object]] = [
        {"alg": "none"},
        {"sub": subject, "iat": now - 120, "exp": now + lifetime},
    ]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in parts]
    return ".".join(part.rstrip("=") for part in encoded) + "."


def token_login(authority: Authority, file: Path) -> Environment:
    return {
        "kafka_security_protocol": "SASL_SSL",
        "kafka_ssl_ca": authority.certificate,
        "kafka_sasl_mechanism": "OAUTHBEARER",
        "kafka_oauth_token_file": file,
    }


async def test_a_token_is_let_in_and_a_renewed_one_is_read_without_a_restart(
    secure: ApacheKafka, authority: Authority, names: Names, tmp_path: Path, measured: Measure
) -> None:
    file = tmp_path / "token"
    file.write_text(token("alice", lifetime=-60) + "\n")
    servers = secure.bootstrap(Listener.SASL_SSL)
    async with served(
        servers, names, ready=False, settings=token_login(authority, file)
    ) as service:
        await is_refused(service, str(file), "may hold a token that is refused")
        assert await service.is_alive()
        file.write_text(token("alice") + "\n")
        measured("token renewed: ready after", await service.until_ready())
        file.write_text("no token at all")  # of no concern to connections that are there
        await works(secure, service, names)
    assert token("alice")[:40] not in service.process.text()


# ----------------------------------------------------------------------- who is not let in


async def is_refused(service: Served, *words: str) -> None:
    """Each check says why, so does the log, once, and nothing crashes or hurries."""
    for check in ("kafka producer", "kafka consumer", "catalogue"):
        await service.until_detail(check, *words)
    event = await logged(
        service.process, lambda event: all(word in str(event["event"]) for word in words)
    )
    assert event["level"] in {"warning", "error"}
    same = [e for e in service.process.events() if e["event"] == event["event"]]
    assert len(same) <= 1, "it is not said again and again"
    assert await service.is_alive()
    status, _ = await service.readiness()
    assert status == 503
    says_no_secret(service)


async def test_a_wrong_password_is_named_and_tried_again_without_haste(
    secure: ApacheKafka, authority: Authority, names: Names, measured: Measure
) -> None:
    servers = secure.bootstrap(Listener.SASL_SSL)
    refused = "Failed authentication"
    async with served(servers, names, ready=False, settings=login(authority, WRONG)) as service:
        await is_refused(service, "invalid credentials", "SCRAM-SHA-512")
        log = secure.log(1)
        before, began = log.read_text().count(refused), asyncio.get_running_loop().time()

        async def refused_often() -> bool:
            return log.read_text().count(refused) >= before + 8

        await eventually(refused_often)
        rate = 8 / (asyncio.get_running_loop().time() - began)
        assert rate < NOT_TOO_OFTEN
        measured("wrong password: logins a second", f"{rate:.1f}")


async def test_a_wrong_password_is_named_where_there_is_no_tls_too(
    secure: ApacheKafka, names: Names
) -> None:
    servers = secure.bootstrap(Listener.SASL_PLAINTEXT)
    settings = login_without_tls("SCRAM-SHA-256", WRONG)
    async with served(servers, names, ready=False, settings=settings) as service:
        await is_refused(service, "invalid credentials", "SCRAM-SHA-256")


async def test_an_authority_that_did_not_sign_the_broker_is_named(
    secure: ApacheKafka, stranger: Authority, names: Names
) -> None:
    servers = secure.bootstrap(Listener.SASL_SSL)
    async with served(servers, names, ready=False, settings=login(stranger)) as service:
        await is_refused(service, "certificate is not trusted", "unable to get local issuer")


async def test_a_certificate_for_another_host_is_named(
    secure: ApacheKafka, authority: Authority, names: Names
) -> None:
    servers = secure.bootstrap(Listener.SASL_SSL).replace("127.0.0.1", "localhost")
    async with served(servers, names, ready=False, settings=login(authority)) as service:
        await is_refused(service, "certificate is not trusted", "localhost")


async def test_a_client_without_the_certificate_that_is_demanded_is_told_so(
    secure: ApacheKafka, authority: Authority, names: Names
) -> None:
    settings = {"kafka_security_protocol": "SSL", "kafka_ssl_ca": authority.certificate}
    servers = secure.bootstrap(Listener.SSL)
    async with served(servers, names, ready=False, settings=settings) as service:
        await is_refused(service, "TAKEDOWN_KAFKA_SSL_CERTIFICATE")


async def test_a_mechanism_that_the_broker_does_not_offer_is_named(
    secure: ApacheKafka, authority: Authority, names: Names
) -> None:
    settings = {**login(authority), "kafka_sasl_mechanism": "SCRAM-SHA-256"}
    servers = secure.bootstrap(Listener.SASL_SSL)
    async with served(servers, names, ready=False, settings=settings) as service:
        await is_refused(service, "does not offer our SASL mechanism")


@pytest.mark.parametrize("listener", [Listener.SSL, Listener.SASL_PLAINTEXT])
async def test_who_forgets_tls_or_login_is_told_which_broker_it_was(
    listener: Listener, secure: ApacheKafka, names: Names
) -> None:
    servers = secure.bootstrap(listener)
    async with served(
        servers, names, ready=False, settings={"kafka_request_timeout": 2}
    ) as service:
        await is_refused(service, servers, "tried by PLAINTEXT")


# --------------------------------------------------------------------------- denied topics


async def forbid(kafka: ApacheKafka, topic: str, operation: str) -> None:
    """Forbid this and nothing else. Who may not even describe a topic may do nothing with it."""
    await kafka.deny("alice", topic, operation)
    if operation != "describe":
        await kafka.allow("alice", topic, "all")


async def test_a_topic_that_we_may_not_write_to_any_more_is_a_502_with_the_cause_at_once(
    secure: ApacheKafka, authority: Authority, names: Names, measured: Measure
) -> None:
    await make_topics(secure, names)
    servers = secure.bootstrap(Listener.SASL_SSL)
    async with (
        served(servers, names, settings=login(authority)) as service,
        platform(secure.bootstrap_servers, names) as items,
    ):
        item_id = await service.item(items, 2)
        await forbid(secure, names.reported, "write")
        await asyncio.sleep(0.5)  # until the broker's own copy of the lists has it
        asked = await service.take_down(item_id)
        assert asked.status == 502
        assert asked.got.seconds < 1.0
        assert "TopicAuthorizationFailed" in asked.got.body["detail"], asked.got.body["detail"]
        assert asked.got.body["published"] == []
        measured("not allowed to write: 502 after", asked.got.seconds)
        # From then on nothing is tried that cannot work.
        await service.until_detail("kafka producer", "may not Write", names.reported)
        assert (await service.take_down(item_id)).status == 503
        await service.check(secure.bootstrap_servers, names)


@pytest.mark.parametrize(
    ("which", "operation", "check"),
    [
        ("deleted", "read", "kafka consumer"),
        ("published", "read", "catalogue"),
        ("reported", "describe", "kafka producer"),
        ("reported", "write", "kafka producer"),
        ("deleted", "describe", "kafka consumer"),
        ("published", "describe", "catalogue"),
    ],
)
async def test_a_topic_that_we_may_not_use_keeps_us_from_being_ready_and_is_named(
    which: str,
    operation: str,
    check: str,
    secure: ApacheKafka,
    authority: Authority,
    names: Names,
) -> None:
    await make_topics(secure, names)
    topic = names.settings()[f"topic_item_{which}"]
    await forbid(secure, topic, operation)
    servers = secure.bootstrap(Listener.SASL_SSL)
    async with served(servers, names, ready=False, settings=login(authority)) as service:
        await service.until_detail(check, topic)
        loop = asyncio.get_running_loop()
        end = loop.time() + 3
        while loop.time() < end:
            status, checks = await service.readiness()
            assert status == 503, "never ready while blind"
            assert not checks[check]["ok"], "and no check says otherwise now and then"
            await asyncio.sleep(0.005)
        interruptions = [e for e in service.process.events() if "interrupted" in str(e["event"])]
        assert len(interruptions) < 10, "it is not said again and again"
        assert await service.is_alive()


async def test_a_missing_topic_that_we_may_not_create_is_named(
    secure: ApacheKafka, authority: Authority, names: Names
) -> None:
    servers = secure.bootstrap(Listener.SASL_SSL)
    settings = login(authority, user="bob")
    for topic in (names.reported, names.deleted, names.published):
        await secure.deny("bob", topic, "create")
    async with served(servers, names, ready=False, settings=settings) as service:
        await is_refused(service, "User:bob may not describe item_", "--operation Create")
