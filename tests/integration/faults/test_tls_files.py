"""TLS files that are renewed on disk while clients use them."""

from __future__ import annotations

import asyncio
import logging
import signal
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import uvloop
from aiokafka.conn import create_conn
from support.diagnosed import explains
from support.not_kafka import kafka, listening, silent
from support.observed import logged
from support.platform import Names
from support.processes import Process
from support.served import Served, served

from bus.kafka.credential_files import UnusableFile
from bus.kafka.tls_files import TlsFiles
from dev.apache_kafka.certificates import Authority, Identity

SOON = 10.0
"""Seconds in which a change is noticed by far."""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def files_of(authority: Authority, identity: Identity) -> TlsFiles:
    return TlsFiles(
        ca=str(authority.certificate),
        certificate=str(identity.certificate),
        key=str(identity.key),
        key_password="",
    )


class Watching:
    """A server that demands a certificate and notes which one each client shows."""

    def __init__(self, authority: Authority) -> None:
        self.tls = authority.server_context("127.0.0.1", demands=True)
        self.shown: list[str] = []

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.shown.append(writer.get_extra_info("peercert")["serialNumber"])
        await silent(reader, writer)


async def connect(address: str, tls: ssl.SSLContext) -> asyncio.StreamWriter:
    host, _, port = address.partition(":")
    _, writer = await asyncio.open_connection(host, int(port), ssl=tls)
    return writer


async def connect_once(address: str, tls: ssl.SSLContext) -> None:
    writer = await connect(address, tls)
    writer.transport.abort()


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON):
        while not condition():  # noqa: ASYNC110 - a file system and a socket
            await asyncio.sleep(0.02)


@asynccontextmanager
async def running(files: TlsFiles) -> AsyncIterator[None]:
    task = asyncio.create_task(files.run())
    yield
    task.cancel()
    await asyncio.wait([task])


async def test_a_renewed_certificate_is_shown_on_the_next_connection_and_the_old_one_goes_on(
    authority: Authority,
) -> None:
    server = Watching(authority)
    files = files_of(authority, authority.client("service"))
    tls = files.context
    async with listening(server.handle, server.tls) as address:
        writers = [await connect(address, tls)]
        authority.client("service")  # the same files
        writers.append(await connect(address, tls))
        await files.reload()
        writers.append(await connect(address, tls))
        await eventually(lambda: len(server.shown) == 3)
        before, still, after = server.shown
        assert before == still != after
        assert not any(writer.is_closing() for writer in writers)
        for writer in writers:
            writer.transport.abort()


async def test_an_authority_that_is_withdrawn_is_trusted_no_more(
    authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "stranger")
    files = files_of(authority, authority.client("service"))
    async with listening(silent, authority.server_context("127.0.0.1")) as address:
        await connect_once(address, files.context)
        authority.certificate.write_bytes(stranger.certificate.read_bytes())
        await files.reload()
        with pytest.raises(ssl.SSLCertVerificationError):
            await connect(address, files.context)


async def test_a_change_is_noticed_without_being_asked_for(authority: Authority) -> None:
    server = Watching(authority)
    files = files_of(authority, authority.client("service"))

    async with listening(server.handle, server.tls) as address, running(files):
        first = files.context.current
        authority.client("service")
        await eventually(lambda: files.context.current is not first)
        await connect_once(address, files.context)
        await eventually(lambda: len(server.shown) == 1)


async def test_files_that_do_not_fit_leave_what_was_there_and_are_reported_once(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "takedown.kafka")
    identity = authority.client("service")
    files = files_of(authority, identity)
    first = files.context.current
    async with running(files):
        old_key = identity.key.read_bytes()
        authority.client("service")
        identity.key.write_bytes(old_key)  # of the two files only one has been replaced
        await eventually(lambda: "cannot be used" in caplog.text)
        assert "TAKEDOWN_KAFKA_SSL_KEY does not belong to the certificate" in caplog.text
        with pytest.raises(UnusableFile):
            await files.reload()
        await asyncio.sleep(5)
        assert caplog.text.count("cannot be used") == 1
        assert files.context.current is first
        authority.client("service")
        await eventually(lambda: files.context.current is not first)
        assert "were reloaded" in caplog.text


def test_both_event_loops_and_aiokafka_make_connections_by_what_was_read_last(
    authority: Authority,
) -> None:
    """`RenewableContext` relies on `wrap_bio` being called for each connection."""

    async def check() -> None:
        server = Watching(authority)
        files = files_of(authority, authority.client("service"))
        answer = kafka((1, "127.0.0.1", 9092))

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            server.shown.append(writer.get_extra_info("peercert")["serialNumber"])
            await answer(reader, writer)

        async with listening(handle, server.tls) as address:
            host, _, port = address.partition(":")
            for _ in range(2):
                conn = await create_conn(
                    host, int(port), security_protocol="SSL", ssl_context=files.context
                )
                await conn.close()
                authority.client("service")
                await files.reload()
        assert len(set(server.shown)) == 2

    for factory in (asyncio.new_event_loop, uvloop.new_event_loop):
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(check())


# ------------------------------------------------------------------------------ the service


def settings_of(authority: Authority, identity: Identity) -> dict[str, object]:
    return {
        "kafka_security_protocol": "SSL",
        "kafka_ssl_ca": authority.certificate,
        "kafka_ssl_certificate": identity.certificate,
        "kafka_ssl_key": identity.key,
    }


async def test_a_service_notices_a_renewed_certificate_by_itself(authority: Authority) -> None:
    server = Watching(authority)
    expired = authority.client("service", ends=datetime.now(UTC) - timedelta(hours=1))
    async with listening(server.handle, server.tls) as address:
        settings = settings_of(authority, expired)
        async with served(address, Names(), ready=False, settings=settings) as service:
            await explains(service, "expired at")
            assert not server.shown
            authority.client("service")
            await eventually(lambda: bool(server.shown))
            await logged(service.process, lambda event: "were reloaded" in str(event["event"]))


async def test_sighup_reloads_the_files_and_says_so(authority: Authority) -> None:
    identity = authority.client("service")
    async with listening(silent, authority.server_context("127.0.0.1")) as address:
        settings = settings_of(authority, identity)
        async with without_terminal(address, settings) as service:
            service.process.signal(signal.SIGHUP)
            await logged(service.process, lambda e: e["event"] == "Reloaded: TLS files")
            identity.key.write_text("nothing")
            service.process.signal(signal.SIGHUP)
            event = await logged(service.process, lambda e: "Not reloaded" in str(e["event"]))
            assert "TLS files" in str(event["event"])
            assert await service.is_alive()


@asynccontextmanager
async def without_terminal(address: str, settings: dict[str, object]) -> AsyncIterator[Served]:
    before = Process.popen_options
    Process.popen_options = {"start_new_session": True}
    try:
        async with served(address, Names(), ready=False, settings=settings) as service:
            yield service
    finally:
        Process.popen_options = before
