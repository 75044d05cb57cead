"""The port that workers share."""

from __future__ import annotations

import socket

import pytest

from app.workers.reserved_port import ReservedPort
from domain.errors import SettingsError


def listen(port: int, *, family: int = socket.AF_INET, host: str = "127.0.0.1") -> socket.socket:
    worker = socket.socket(family)
    worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    worker.bind((host, port))
    worker.listen()
    return worker


async def test_a_free_port_is_taken_and_workers_can_listen_on_it_together() -> None:
    reserved = await ReservedPort.take("127.0.0.1", 0)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", reserved.number))
    with listen(reserved.number), listen(reserved.number):
        socket.create_connection(("127.0.0.1", reserved.number)).close()
    await reserved.close()


async def test_a_port_on_which_others_listen_is_refused_even_if_they_share_it() -> None:
    with listen(0) as other:
        port = other.getsockname()[1]
        with pytest.raises(SettingsError, match=f"TAKEDOWN_HTTP_PORT: 127.0.0.1:{port} cannot"):
            await ReservedPort.take("127.0.0.1", port)


async def test_a_port_with_connections_that_have_just_ended_can_be_had_again() -> None:
    with listen(0) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
        accepted.close()  # the server's side goes first, so that it is what waits
        client.close()
    reserved = await ReservedPort.take("127.0.0.1", port)
    assert reserved.number == port
    await reserved.close()


async def test_both_addresses_of_a_name_get_the_same_port() -> None:
    reserved = await ReservedPort.take("localhost", 0)
    with listen(reserved.number):
        pass
    await reserved.close()


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
async def test_an_address_that_is_not_ours_is_named(host: str) -> None:
    with pytest.raises(SettingsError, match=f"TAKEDOWN_HTTP_PORT: {host}:8080 cannot be"):
        await ReservedPort.take(host, 8080)
