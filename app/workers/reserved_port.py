"""The callers' port, kept by the supervisor so that every worker can listen on it."""

from __future__ import annotations

import asyncio
import os
import socket
import sys

from domain.errors import SettingsError


class ReservedPort:
    """A port that is bound and not listened on: the kernel gives it no connection.

    It is taken as if for one process alone, which fails where anybody listens, also somebody who
    would share; only then is it opened for sharing. So a service that is started twice by mistake
    is told, instead of getting half of the callers of the other one.

    Args:
        number: the port.
        sockets: one for each of the host's addresses.
    """

    def __init__(self, number: int, sockets: list[socket.socket]) -> None:
        self.number = number
        self._sockets = sockets

    @classmethod
    async def take(cls, host: str, port: int) -> ReservedPort:
        """Take a port; 0 takes any free one.

        Raises:
            SettingsError: it cannot be had, or not shared on this system.
        """
        if sys.platform != "linux":
            # Others have the option, and give all connections to one of the listeners.
            raise SettingsError("TAKEDOWN_WORKERS must be 1: only Linux shares a port fairly")
        loop = asyncio.get_running_loop()
        sockets: list[socket.socket] = []
        try:
            found = await loop.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            for family, kind, protocol, _, address in dict.fromkeys(found):
                one = socket.socket(family, kind, protocol)
                sockets.append(one)
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                one.bind((address[0], port, *address[2:]))
                port = one.getsockname()[1]
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        except OSError as error:
            for each in sockets:
                each.close()
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error
            raise SettingsError(
                f"TAKEDOWN_HTTP_PORT: {host}:{port} cannot be listened on: {reason}"
            ) from error
        return cls(port, sockets)

    async def close(self) -> None:
        """Give it back."""
        for each in self._sockets:
            each.close()
