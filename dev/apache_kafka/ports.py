"""Loopback ports that stay ours while nobody listens on them."""

from __future__ import annotations

import random
import socket
from pathlib import Path

HOST = "127.0.0.1"

_LOWEST = 10_000
_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_COMMON_EPHEMERAL_START = 32_768
_ATTEMPTS = 1000


def free_ports(count: int) -> tuple[int, ...]:
    """Different ports that nobody listens on now.

    They lie below the range from which the kernel takes the local ports of outgoing
    connections. A port from that range may be taken while a broker is down, by the very client
    that tries to reach it: on the loopback interface it then connects to itself, and the broker
    cannot come back.
    """
    found: set[int] = set()
    highest = _ephemeral_start() - 1
    for _ in range(_ATTEMPTS):
        if len(found) == count:
            return tuple(found)
        port = random.randint(_LOWEST, highest)  # noqa: S311 - not a secret
        if _is_free(port):
            found.add(port)
    raise OSError(f"no {count} free ports between {_LOWEST} and {highest}")


def accepts_connections(port: int) -> bool:
    """Whether somebody listens on the port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((HOST, port)) == 0


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _ephemeral_start() -> int:
    try:
        return int(_EPHEMERAL_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return _COMMON_EPHEMERAL_START
