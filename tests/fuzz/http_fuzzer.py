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
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from fuzz.http_streams import End, Generator, Stream
from support.platform import Names
from support.processes import Process, running

ANSWERED_WITHIN = 4.0
"""Seconds for a stream to be answered or closed: takedowns have 1 s, and a peer that does not close
its side 1 s more; the rest is for a machine that is busy."""

NEIGHBOUR_WITHIN = 0.25
"""Seconds for an answer to a well-behaved client, on top of what the machine itself takes: another
process, which does nothing but answer, is asked at the same time and shows how long that is."""

_CONTROL = """
import socket, sys
with socket.create_server(("127.0.0.1", 0)) as server:
    print(server.getsockname()[1], flush=True)
    while True:
        one, _ = server.accept()
        with one:
            one.recv(65536)
            one.sendall(b"HTTP/1.1 200 OK\\r\\n\\r\\n")
"""
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")


class Finding(AssertionError):
    """A stream that was not treated as it must be."""


@dataclass
class Neighbour:
    """A well-behaved client with one connection for each of its requests."""

    address: tuple[str, int]
    request: bytes
    slowest: float = 0.0
    asked: int = 0
    problems: list[str] = field(default_factory=list)

    def run(self, stop: threading.Event) -> None:
        while not stop.wait(0.02):
            began = time.monotonic()
            answer = self._ask()
            seconds = time.monotonic() - began
            if stop.is_set():
                return
            self.asked += 1
            if not answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 404")):
                self.problems.append(f"a well-behaved client got {answer[:80]!r}")
            self.slowest = max(self.slowest, seconds)

    def _ask(self) -> bytes:
        try:
            with socket.create_connection(self.address, timeout=5) as connection:
                connection.sendall(self.request)
                data = b""
                while part := connection.recv(65536):
                    data += part
                return data
        except OSError as error:
            return repr(error).encode()


class Fuzzer:
    """Sends streams to one server after the other.

    Args:
        process: the service.
    """

    def __init__(self, process: Process) -> None:
        ready = process.wait_for_event("ready")
        self._process = process
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
def control() -> Iterator[tuple[str, int]]:
    """A process that answers each connection at once; gives its address."""
    with subprocess.Popen([sys.executable, "-c", _CONTROL], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield "127.0.0.1", int(process.stdout.readline())
        finally:
            process.kill()


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
    with service() as fuzzer, control() as idle:
        unknown = b"DELETE /items/00000000-0000-4000-8000-000000000000 HTTP/1.1\r\n"
        rest = b"Host: x\r\nConnection: close\r\n\r\n"
        machine = Neighbour(idle, rest)
        neighbours = (
            Neighbour(fuzzer.public, unknown + rest),
            Neighbour(fuzzer.admin, b"GET /livez HTTP/1.1\r\n" + rest),
        )
        stop = threading.Event()
        threads = [
            threading.Thread(target=each.run, args=[stop]) for each in (*neighbours, machine)
        ]
        for thread in threads:
            thread.start()
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end:
                fuzzer.one(seed + fuzzer.streams)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        for each in neighbours:
            if each.problems:
                raise Finding(f"{len(each.problems)} times, first: {each.problems[0]}")
            if each.slowest > NEIGHBOUR_WITHIN + machine.slowest:
                raise Finding(
                    f"a well-behaved client waited {each.slowest:.3f} s; an idle process answers "
                    f"within {machine.slowest:.3f} s here"
                )
        slowest = max(each.slowest for each in neighbours)
        asked = sum(each.asked for each in neighbours)
        return (
            f"{fuzzer.streams:,} streams to each server, none with a finding; {asked:,} requests "
            f"beside them, the slowest {slowest * 1000:.0f} ms (an idle process: "
            f"{machine.slowest * 1000:.0f} ms)"
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
