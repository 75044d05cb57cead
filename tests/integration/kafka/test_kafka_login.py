from __future__ import annotations

import asyncio
import base64
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaConnectionError, TopicAuthorizationFailedError

from bus.kafka.connection import Connection
from bus.kafka.topics import Topic, ensure_topics
from dev.apache_kafka.cluster import ApacheKafka
from dev.apache_kafka.listeners import Listener

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from dev.apache_kafka.certificates import Authority

pytestmark = pytest.mark.apache

PATIENCE = 15.0


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    from dev.apache_kafka.certificates import Authority  # noqa: PLC0415 - only these tests need it

    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    from dev.apache_kafka.certificates import Authority  # noqa: PLC0415 - only these tests need it

    return Authority(tmp_path_factory.mktemp("strange"), "stranger")


@pytest.fixture(scope="module")
def secure(prepared: None, authority: Authority) -> Iterator[ApacheKafka]:  # noqa: ARG001
    kafka = ApacheKafka(
        tls=authority.broker("127.0.0.1"), users={"alice": "right"}, access_lists=True
    )

    async def start() -> None:
        await kafka.start()
        topics = [Topic("open", 1), Topic("closed", 1)]
        await ensure_topics(Connection(kafka.bootstrap_servers), topics)
        await kafka.deny("alice", "closed", "write")

    # Not coroutines, for the reason that the other fixtures' file gives.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(start())
        try:
            yield kafka
        finally:
            runner.run(kafka.stop())


async def send(servers: str, topic: str, **options: Any) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=servers, request_timeout_ms=5000, **options)
    async with asyncio.timeout(PATIENCE):
        try:
            await producer.start()
            await producer.send_and_wait(topic, b"value")
        finally:
            await producer.stop()


def scram(context: ssl.SSLContext, word: str = "right") -> dict[str, Any]:
    return {
        "security_protocol": "SASL_SSL",
        "ssl_context": context,
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "alice",
        "sasl_plain_password": word,
    }


async def test_the_right_password_is_let_in(secure: ApacheKafka, authority: Authority) -> None:
    await send(secure.bootstrap(Listener.SASL_SSL), "open", **scram(authority.client_context()))


async def test_a_wrong_password_is_not(
    secure: ApacheKafka, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    options = scram(authority.client_context(), "wrong")
    with pytest.raises(KafkaConnectionError):
        await send(secure.bootstrap(Listener.SASL_SSL), "open", **options)
    assert "SaslAuthenticationFailed" in caplog.text or "Authentication failed" in caplog.text


async def test_a_broker_signed_by_a_stranger_is_not_trusted(
    secure: ApacheKafka, stranger: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(KafkaConnectionError):
        await send(secure.bootstrap(Listener.SASL_SSL), "open", **scram(stranger.client_context()))
    assert "CERTIFICATE_VERIFY_FAILED" in caplog.text


async def test_a_certificate_for_another_host_is_not_trusted(
    secure: ApacheKafka, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    servers = secure.bootstrap(Listener.SASL_SSL).replace("127.0.0.1", "localhost")
    with pytest.raises(KafkaConnectionError):
        await send(servers, "open", **scram(authority.client_context()))
    assert "Hostname mismatch" in caplog.text


async def test_a_denied_topic_is_denied_and_the_other_is_not(
    secure: ApacheKafka, authority: Authority
) -> None:
    options = scram(authority.client_context())
    with pytest.raises(TopicAuthorizationFailedError):
        await send(secure.bootstrap(Listener.SASL_SSL), "closed", **options)
    await send(secure.bootstrap(Listener.SASL_SSL), "open", **options)


async def test_a_client_certificate_is_let_in_and_none_is_not(
    secure: ApacheKafka, authority: Authority
) -> None:
    servers = secure.bootstrap(Listener.SSL)
    shown = authority.client_context(authority.client("service"))
    await send(servers, "open", security_protocol="SSL", ssl_context=shown)
    with pytest.raises(KafkaConnectionError):
        await send(servers, "open", security_protocol="SSL", ssl_context=authority.client_context())


class UnsignedToken(AbstractTokenProvider):  # type: ignore[misc] # aiokafka carries no types
    async def token(self) -> str:
        now = time.time()
        parts: list[dict[str, object]] = [
            {"alg": "none"},
            {"sub": "alice", "iat": now, "exp": now + 60},
        ]
        return (
            ".".join(
                base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
                for part in parts
            )
            + "."
        )


async def test_a_token_is_let_in(secure: ApacheKafka, authority: Authority) -> None:
    await send(
        secure.bootstrap(Listener.SASL_SSL),
        "open",
        security_protocol="SASL_SSL",
        ssl_context=authority.client_context(),
        sasl_mechanism="OAUTHBEARER",
        sasl_oauth_token_provider=UnsignedToken(),
    )
