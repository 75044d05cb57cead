"""What a worker tells its supervisor, and how it notices that it has none any more.

Both hold one end of a socket pair. The worker writes lines of JSON. The supervisor writes nothing:
that its end is open says that it lives, and the kernel closes it however the supervisor ends.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from typing import TYPE_CHECKING, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable


class AdminApiOpened(msgspec.Struct, frozen=True, tag="admin-api"):
    """The worker's own admin API listens at `address`."""

    address: str


class PublicApiOpened(msgspec.Struct, frozen=True, tag="public-api"):
    """The worker takes its share of the callers' connections from now on."""


class Misused(msgspec.Struct, frozen=True, tag="misused"):
    """A setting cannot be used, and `reason` names it; the worker ends."""

    reason: str


Report: TypeAlias = AdminApiOpened | PublicApiOpened | Misused

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Report] = msgspec.json.Decoder(
    AdminApiOpened | PublicApiOpened | Misused
)


def decode(line: bytes) -> Report:
    """One line of what a worker wrote.

    Raises:
        msgspec.DecodeError: it is no report.
    """
    return _decoder.decode(line)


class Link:
    """A worker's end.

    Args:
        fileno: of the socket, inherited from the supervisor.
    """

    def __init__(self, fileno: int) -> None:
        self._socket = socket.socket(fileno=fileno)

    def report(self, report: Report) -> None:
        """Tell the supervisor; when there is none, nobody needs to know."""
        with contextlib.suppress(OSError):
            self._socket.sendall(_encoder.encode(report) + b"\n")

    def watch(self, on_gone: Callable[[], None], *, linger: float) -> None:
        """Have `on_gone` called in a thread when the supervisor has gone, however that happened.

        Args:
            on_gone: asks the worker to end.
            linger: seconds until a worker that has not ended by then is ended by force: its loop
                may hang, and nobody else is there to see it.
        """

        def wait() -> None:
            with contextlib.suppress(OSError):
                while self._socket.recv(64):
                    pass
            on_gone()
            threading.Event().wait(linger)
            os._exit(1)

        threading.Thread(target=wait, name="supervisor's end", daemon=True).start()
