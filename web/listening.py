"""Sockets that listen: bound before the server is ready, and emptied before they are closed."""

from __future__ import annotations

import asyncio
import socket


async def bind(host: str, port: int, *, reuse_port: bool = False) -> list[socket.socket]:
    """Bind every address of `host`, without listening; port 0 takes the same free one for all.

    No other process can bind the address from then on, unless `reuse_port` is set for both. (With
    SO_REUSEADDR alone, Linux lets several bind it as long as none of them listens.)

    Raises:
        OSError: an address cannot be bound.
    """
    found = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            one = socket.socket(family, kind, protocol)
            sockets.append(one)
            one.setblocking(False)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if reuse_port:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind((address[0], port, *address[2:]))
            port = one.getsockname()[1]
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    except OSError:
        for each in sockets:
            each.close()
        raise
    return sockets


def prepare_to_listen(bound: socket.socket) -> None:
    """Let a successor bind the address while connections of this one are still in TIME_WAIT."""
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


def accept_queued(listening: socket.socket) -> list[socket.socket]:
    """The connections that the kernel has accepted and this process has not.

    A socket that is closed with connections in its queue resets them.
    """
    accepted: list[socket.socket] = []
    while True:
        try:
            one, _ = listening.accept()
        except OSError:  # none is left, or one has ended before it was accepted
            return accepted
        one.setblocking(False)
        accepted.append(one)
