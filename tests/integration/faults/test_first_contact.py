"""What the log and `/readyz` say within 5 s when the first contact with Kafka fails.

Servers of the tests' own stand for what is not a usable broker. What a real Apache Kafka answers is
in `tests/apache/test_apache_first_contact.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.diagnosed import explains
from support.not_kafka import (
    Handler,
    black_hole,
    closing,
    garbage,
    http,
    http_by_lines,
    kafka,
    listening,
    nothing,
    silent,
    without_metadata,
)
from support.platform import Names
from support.served import served

from bus.kafka.handshake import Server, offered_logins
from dev.apache_kafka.certificates import Authority, Identity

SERVERS = "TAKEDOWN_KAFKA_BOOTSTRAP_SERVERS"
PROTOCOL = "TAKEDOWN_KAFKA_SECURITY_PROTOCOL"
ADVERTISED = ("as advertised in the cluster's metadata", "advertised.listeners")

Settings = Mapping[str, object]


async def is_explained(address: str, *words: str, settings: Settings | None = None) -> str:
    """Start a service with this server, and see that it says all of this within 5 s."""
    async with served(address, Names(), ready=False, settings=settings or {}) as service:
        return await explains(service, *words)


# ----------------------------------------------------------------------- the settings' servers


async def test_a_port_on_which_nothing_listens_is_named() -> None:
    with nothing() as port:
        await is_explained(f"127.0.0.1:{port}", f"127.0.0.1:{port}", SERVERS, "Connection refused")


async def test_a_name_that_does_not_resolve_is_named() -> None:
    await is_explained("kafka-1.invalid:9092", "kafka-1.invalid", "resolve", SERVERS)


async def test_a_server_that_does_not_answer_a_connection_is_named() -> None:
    with black_hole() as port:
        await is_explained(
            f"127.0.0.1:{port}", f"127.0.0.1:{port}", "no answer to a TCP connection", "firewall"
        )


async def test_servers_with_the_same_trouble_are_named_together() -> None:
    with nothing() as one, nothing() as other:
        servers = f"127.0.0.1:{one},127.0.0.1:{other}"
        text = await is_explained(servers, f"127.0.0.1:{one}, 127.0.0.1:{other}")
        assert text.count("Connection refused") == 1


async def test_one_server_that_works_is_enough() -> None:
    with nothing() as port:
        async with listening(kafka((7, "127.0.0.1", port))) as address:
            text = await is_explained(f"127.0.0.1:1,{address}", "broker 7")
            assert f"from {SERVERS}" not in text


async def test_servers_that_answer_no_metadata_are_described_in_time() -> None:
    handlers = [without_metadata] * 3
    async with contextlib.AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(listening(each)) for each in handlers]
        await is_explained(",".join(servers), servers[0], "speaks Kafka", "does not answer in time")


# -------------------------------------------------------------------------- advertised addresses


async def test_an_advertised_port_on_which_nothing_listens_is_named() -> None:
    with nothing() as port:
        async with listening(kafka((111, "127.0.0.1", port))) as address:
            where = f"broker 111 at 127.0.0.1:{port}"
            await is_explained(address, where, *ADVERTISED, "given by " + address, "refused")


async def test_an_advertised_name_that_does_not_resolve_is_named() -> None:
    async with listening(kafka((1, "kafka-1.docker.invalid", 29092))) as address:
        where = "broker 1 at kafka-1.docker.invalid:29092"
        await is_explained(address, where, *ADVERTISED, "resolve")


async def test_an_advertised_address_that_does_not_answer_is_named() -> None:
    with black_hole() as port:
        async with listening(kafka((2, "127.0.0.1", port))) as address:
            where = f"broker 2 at 127.0.0.1:{port}"
            await is_explained(address, where, *ADVERTISED, "no answer to a TCP connection")


async def test_advertised_localhost_is_explained() -> None:
    with nothing() as port:
        async with listening(kafka((1, "localhost", port))) as address:
            where = f"broker 1 at localhost:{port}"
            await is_explained(address, where, *ADVERTISED, "the machine on which a client runs")


async def test_an_advertised_http_server_is_named() -> None:
    async with listening(http) as other:
        host, _, port = other.partition(":")
        async with listening(kafka((3, host, int(port)))) as address:
            await is_explained(address, f"broker 3 at {other}", "HTTP server", ADVERTISED[1])


async def test_an_advertised_name_cannot_forge_a_line_of_the_log() -> None:
    async with listening(kafka((1, "a\r\n\x1b[2Jb\u202e.invalid", 9092))) as address:
        text = await is_explained(address, "broker 1", "resolve")
        assert text.isprintable()


@pytest.mark.parametrize(("host", "port"), [("a" * 300, 9092), ("", 1), ("b\0c", 9092), (".", 1)])
async def test_an_advertised_address_that_is_none_is_named(host: str, port: int) -> None:
    async with listening(kafka((5, host, port))) as address:
        await is_explained(address, "broker 5 at", *ADVERTISED)


async def test_an_advertised_port_that_is_none_is_named() -> None:
    async with listening(kafka((5, "127.0.0.1", 70_000))) as address:
        await is_explained(address, "broker 5 at 127.0.0.1:70000", *ADVERTISED)


# ------------------------------------------------------------------------ servers that are no Kafka


@pytest.mark.parametrize("server", [http, http_by_lines])
async def test_an_http_server_is_called_so(server: Handler) -> None:
    async with listening(server) as address:
        await is_explained(address, address, "HTTP/1.1 400 Bad Request", "HTTP server", SERVERS)


async def test_a_server_that_closes_at_once_is_described() -> None:
    async with listening(closing) as address:
        await is_explained(address, address, "closed", "no Kafka broker", SERVERS)


async def test_a_server_that_says_nothing_is_described() -> None:
    async with listening(silent) as address:
        await is_explained(address, "accepted the connection and did not answer", "hangs", SERVERS)


async def test_a_server_that_sends_something_else_is_quoted_without_control_characters() -> None:
    async with listening(garbage) as address:
        text = await is_explained(address, "SSH-2.0-", "no Kafka broker", SERVERS)
        assert text.isprintable()


# -------------------------------------------------------------------------------------- TLS


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@asynccontextmanager
async def over_tls(
    authority: Authority, handler: Handler, *names: str, ends: timedelta = timedelta(days=1)
) -> AsyncIterator[str]:
    """A server with a certificate for the loopback, or for other names."""
    tls = authority.server_context(*(names or ("127.0.0.1",)), ends=datetime.now(UTC) + ends)
    async with listening(handler, tls) as address:
        yield address


def by_tls(authority: Authority, identity: Identity | None = None) -> Settings:
    settings = {"kafka_security_protocol": "SSL", "kafka_ssl_ca": authority.certificate}
    if identity is not None:
        settings |= {"kafka_ssl_certificate": identity.certificate, "kafka_ssl_key": identity.key}
    return settings


async def test_a_port_with_tls_is_recognised_without_tls(authority: Authority) -> None:
    async with over_tls(authority, kafka((1, "127.0.0.1", 9092))) as address:
        await is_explained(address, "tried by PLAINTEXT", "uses TLS", f"Set {PROTOCOL} to SSL")


async def test_a_port_without_tls_is_recognised_with_tls(authority: Authority) -> None:
    async with listening(kafka((1, "127.0.0.1", 9092))) as address:
        await is_explained(
            address,
            "tried by SSL",
            "without TLS, it answers as Kafka does",
            f"{PROTOCOL} to PLAINTEXT",
            settings=by_tls(authority),
        )


@pytest.mark.parametrize("server", [http, http_by_lines])
async def test_an_http_server_is_recognised_with_tls(server: Handler, authority: Authority) -> None:
    async with listening(server) as address:
        await is_explained(address, "HTTP server", SERVERS, settings=by_tls(authority))


async def test_an_https_server_is_recognised(authority: Authority) -> None:
    async with over_tls(authority, http) as address:
        await is_explained(address, "HTTP server", SERVERS, settings=by_tls(authority))


async def test_a_silent_server_is_described_with_tls(authority: Authority) -> None:
    async with listening(silent) as address:
        words = ("did not answer the TLS handshake", "no Kafka broker")
        await is_explained(address, *words, settings=by_tls(authority))


async def test_a_certificate_of_a_stranger_is_explained(
    authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "stranger")
    async with over_tls(stranger, kafka((1, "127.0.0.1", 9092))) as address:
        await is_explained(
            address,
            "certificate is not trusted",
            str(authority.certificate),
            "TAKEDOWN_KAFKA_SSL_CA",
            settings=by_tls(authority),
        )


async def test_a_certificate_for_another_name_is_explained_with_its_names(
    authority: Authority,
) -> None:
    async with over_tls(authority, silent, "kafka-1.example", "10.1.2.3") as address:
        await is_explained(
            address,
            "certificate is not trusted",
            "it is for: kafka-1.example, 10.1.2.3",
            "advertised.listeners",
            settings=by_tls(authority),
        )


async def test_a_brokers_certificate_that_has_expired_is_called_so(authority: Authority) -> None:
    async with over_tls(authority, silent, ends=timedelta(hours=-1)) as address:
        await is_explained(
            address, "The broker's certificate", "expired at", "Renew", settings=by_tls(authority)
        )


async def test_a_certificate_that_is_demanded_is_named(authority: Authority) -> None:
    tls = authority.server_context("127.0.0.1", demands=True)
    async with listening(silent, tls) as address:
        await is_explained(
            address,
            "it accepted the connection and closed it",
            "demands a certificate of us (TAKEDOWN_KAFKA_SSL_CERTIFICATE)",
            settings=by_tls(authority),
        )


async def test_our_certificate_that_has_expired_is_called_so(authority: Authority) -> None:
    tls = authority.server_context("127.0.0.1", demands=True)
    identity = authority.client("service", ends=datetime.now(UTC) - timedelta(hours=1))
    async with listening(silent, tls) as address:
        await is_explained(
            address,
            "our certificate (TAKEDOWN_KAFKA_SSL_CERTIFICATE) expired at",
            "Renew it",
            settings=by_tls(authority, identity),
        )


# ------------------------------------------------------------------------------------ afterwards


async def test_the_log_says_it_once_while_nothing_changes() -> None:
    async with listening(http) as address, served(address, Names(), ready=False) as service:
        text = await explains(service, "HTTP server")
        await asyncio.sleep(3)
        lines = [event for event in service.process.events() if text in str(event["event"])]
        assert len(lines) == 1


async def test_nothing_is_left_open_at_a_server_that_is_asked_again_and_again() -> None:
    now = 0
    most = 0

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        with contextlib.suppress(OSError):
            await closing(reader, writer)
        now -= 1

    async with listening(count) as address, served(address, Names(), ready=False) as service:
        await explains(service, "closed")
        await asyncio.sleep(3)
    assert most <= 6
    assert now == 0


async def test_a_list_of_logins_that_does_not_end_is_no_answer() -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            (length,) = struct.unpack(">i", await reader.readexactly(4))
            request = await reader.readexactly(length)
            (correlation,) = struct.unpack_from(">i", request, 4)
            # A mechanism whose length is -2 is followed by itself.
            writer.write(struct.pack(">iihih", 12, correlation, 33, 2**31 - 1, -2))

    async with listening(endless) as address:
        host, _, port = address.partition(":")
        assert await offered_logins(Server(host, int(port)), None, within=1) is None
