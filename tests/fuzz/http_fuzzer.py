"""Raw-socket fuzzer of both HTTP servers of a real `takedown serve`.

`PYTHONPATH=tests python -m fuzz.http_fuzzer --seconds 3600` runs it for an hour; `--seed N` begins
with that stream. What it demands of every stream: it is answered or closed in time, nothing is
executed that no request names, no answer is a 500, no defect is logged, and a well-behaved client
of each server beside it is answered within 250 ms.
"""

from __future__ import annotations

import argparse
import json
import re
import secrets
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from fuzz.http_streams import End, Generator, Stream
from fuzz.neighbour import Neighbour
from support.platform import Names
from support.processes import Process, running

ANSWERED_WITHIN = 4.0
"""Seconds for a stream to be answered or closed: takedowns have 1 s, and a peer that does not close
its side 1 s more; the rest is for a machine that is busy."""

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")


class Finding(AssertionError):
    """A stream that was not treated as it must be."""


class Fuzzer:
    """Sends streams to one server after the other.

    Args:
        process: the service.
    """

    def __init__(self, process: Process) -> None:
        ready = process.wait_for_event("ready")
        self._process = process
        self.pid = process.pid
        self.public = _place(ready["http"])
        self.admin = _place(ready["admin"])
        self._read = 0
        self._executed: set[str] = set()
        self.streams = 0

    def one(self, seed: int) -> None:
        """Send the stream of this seed to both servers.

        Raises:
            Finding: what was wrong.
        """
        for server, address in (("public", self.public), ("admin", self.admin)):
            stream = Generator(seed).stream()
            try:
                received, closed, seconds = self._send(stream, address)
                self._check(stream, received, closed, seconds, public=server == "public")
                self._check_log(stream)
            except Finding as finding:
                raise Finding(
                    f"seed {seed}, {server} server: {finding}\n{stream.end}\n"
                    + "\n".join(repr(segment) for segment in stream.segments)
                ) from None
        self.streams += 1

    def _send(self, stream: Stream, address: tuple[str, int]) -> tuple[bytes, bool, float]:
        """Send it; what was received, whether the server closed, and how long that took."""
        received = b""
        closed = False
        with socket.create_connection(address, timeout=ANSWERED_WITHIN) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                for segment in stream.segments:
                    connection.sendall(segment)
                    if len(stream.segments) < 20:
                        time.sleep(0.002)
                if stream.end is End.ABORT:
                    linger = b"\x01\0\0\0\0\0\0\0"
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    return b"", True, 0.0
                if stream.end is End.HALF:
                    connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it was closed already; what it sent can still be read
            began = time.monotonic()
            try:
                while not closed and not (_complete(stream, received)):
                    part = connection.recv(65536)
                    received += part
                    closed = not part
            except TimeoutError:
                pass
            except OSError:
                closed = True
            return received, closed, time.monotonic() - began

    def _check(
        self, stream: Stream, received: bytes, closed: bool, seconds: float, *, public: bool
    ) -> None:
        if stream.end is End.ABORT:
            return
        statuses = [int(status) for status in _STATUS.findall(received)]
        if any(status >= 500 and status != 504 for status in statuses):
            raise Finding(f"answered with {statuses}")
        must_close = stream.end is End.HALF or stream.closes
        if must_close and not closed:
            raise Finding(f"not closed after {seconds:.1f} s; received {received[-300:]!r}")
        final = [status for status in statuses if status >= 200]
        if stream.exact and len(final) != stream.requests:
            raise Finding(f"{len(final)} answers to {stream.requests} requests: {received!r}")
        if not stream.exact and not final and not closed:
            raise Finding(f"neither answered nor closed after {seconds:.1f} s")
        if public and any(200 <= status < 300 for status in final):
            raise Finding("an item that does not exist was deleted")

    def _check_log(self, stream: Stream) -> None:
        lines = self._process.lines
        for line in lines[self._read :]:
            if '"level":"error"' in line or '"level":"critical"' in line or "Traceback" in line:
                raise Finding(f"logged: {line[:3000]}")
            if "itemId" in line:
                self._executed.add(json.loads(line)["itemId"])
        self._read = len(lines)
        if executed := self._executed & stream.forbidden:
            raise Finding(f"executed, though no request names them: {executed}")
        self._executed -= stream.named


def _complete(stream: Stream, received: bytes) -> bool:
    """Whether nothing more is to come, and the server may keep the connection."""
    if stream.end is End.HALF or stream.closes or not stream.exact:
        return False
    finals = [status for status in _STATUS.findall(received) if status >= b"200"]
    return len(finals) >= stream.requests


def _place(address: str) -> tuple[str, int]:
    host, _, port = address.removeprefix("http://").rpartition(":")
    return host, int(port)


@contextmanager
def service() -> Iterator[Fuzzer]:
    """A fuzzer of a service of its own."""
    with (
        running("broker", broker_port=0, log_format="json") as broker,
        running(
            "serve",
            kafka_bootstrap_servers=broker.wait_for_event("ready")["kafka"],
            kafka_fetch_max_wait=0.01,
            http_port=0,
            admin_port=0,
            timeout=1,
            log_format="json",
            **Names().settings(),
        ) as process,
    ):
        yield Fuzzer(process)
        if process.stop() != 0:
            raise Finding("the service did not end as it should:\n" + process.text()[-3000:])


def fuzz(seconds: float, seed: int) -> str:
    """Fuzz for so long, with the seeds from `seed` on; a line about what was done.

    Raises:
        Finding: with its seed.
    """
    with service() as fuzzer:
        rest = b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        neighbours = (
            Neighbour(fuzzer.public, fuzzer.pid, b"DELETE /items/nonsense" + rest),
            Neighbour(fuzzer.admin, fuzzer.pid, b"GET /livez" + rest),
        )
        end = time.monotonic() + seconds
        with neighbours[0], neighbours[1]:
            while time.monotonic() < end:
                fuzzer.one(seed + fuzzer.streams)
        for each in neighbours:
            if complaint := each.complaint():
                raise Finding(complaint)
        slowest, machine = (
            max(getattr(each.report, name) for each in neighbours)
            for name in ("slowest", "machine")
        )
        asked = sum(each.report.asked for each in neighbours)
        return (
            f"{fuzzer.streams:,} streams to each server, none with a finding; {asked:,} requests "
            f"beside them, the slowest {slowest * 1000:.0f} ms (without up to "
            f"{machine * 1000:.0f} ms in which the machine was busy)"
        )


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=None, help="the first one; none: a fresh one")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else secrets.randbelow(10**9) * 10**6
    sys.stdout.write(f"seeds from {seed}\n")
    sys.stdout.flush()
    try:
        sys.stdout.write(fuzz(options.seconds, seed) + "\n")
    except Finding as finding:
        sys.stdout.write(f"FOUND: {finding}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
