"""A well-behaved client beside a fuzzer, in a process of its own.

In the fuzzer's process it would also measure the fuzzer: to make a batch of 20 MiB holds Python's
interpreter lock, and a thread that waits for that is not known to wait for anything.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from support.processes import ROOT

NEIGHBOUR_WITHIN = 0.25
"""Seconds for an answer to a well-behaved client, on top of those for which the kernel let the
service or the client itself wait for a processor meanwhile."""

_PAUSE = 0.02
_REPORT_EVERY = 1.0
_ENDS_WITHIN = 20


@dataclass
class Report:
    """What a client has met.

    Attributes:
        slowest: seconds of the slowest answer, without those of the machine.
        machine: the most seconds that were the machine's.
        asked: requests that were answered.
        problems: answers that were wrong.
        first_problem: the first of them.
    """

    slowest: float = 0.0
    machine: float = 0.0
    asked: int = 0
    problems: int = 0
    first_problem: str = ""


class Neighbour:
    """The client, as the fuzzer has it.

    Args:
        address: host and port of the server.
        pid: the service's process.
        request: what it sends, again and again, over a new connection each time.
        all_threads: whether the time for which any thread of the service had no processor is the
            machine's. A thread that holds the interpreter's lock then holds up the others.
    """

    def __init__(
        self, address: tuple[str, int], pid: int, request: bytes, *, all_threads: bool = False
    ) -> None:
        host, port = address
        self._command = [sys.executable, "-m", "fuzz.neighbour", host, str(port), str(pid)]
        self._command += [request.hex(), *(["--all-threads"] if all_threads else [])]
        self.report = Report()

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._reader.join(_ENDS_WITHIN)
        self._process.kill()
        self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self.report = Report(**json.loads(line))

    def complaint(self) -> str:
        """What was wrong, if anything was."""
        found = self.report
        if found.problems:
            return f"{found.problems} times, first: {found.first_problem}"
        if found.slowest > NEIGHBOUR_WITHIN:
            return f"a well-behaved client waited {found.slowest:.3f} s"
        return "" if found.asked else "a well-behaved client was never answered"


def waited_for_a_processor(pid: int, thread: int) -> float:
    """Seconds for which a thread was runnable and did not run; 0 where this is not counted."""
    try:
        text = Path(f"/proc/{pid}/task/{thread}/schedstat").read_text()
    except OSError:
        return 0.0
    return int(text.split()[1]) / 1e9


def _machine(pid: int, *, all_threads: bool) -> float:
    own = waited_for_a_processor(os.getpid(), threading.get_native_id())
    if not all_threads:
        return own + waited_for_a_processor(pid, pid)
    try:
        threads = [int(each.name) for each in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:  # the service has ended
        return own
    return own + sum(waited_for_a_processor(pid, thread) for thread in threads)


def _ask(address: tuple[str, int], request: bytes) -> bytes:
    try:
        with socket.create_connection(address, timeout=5) as connection:
            connection.sendall(request)
            data = b""
            while part := connection.recv(65536):
                data += part
            return data
    except OSError as error:
        return repr(error).encode()


def _tell(found: Report) -> None:
    sys.stdout.write(json.dumps(asdict(found)) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Ask until standard input ends; a report in JSON each second, and whenever one was slower."""
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("pid", type=int)
    parser.add_argument("request", type=bytes.fromhex)
    parser.add_argument("--all-threads", action="store_true")
    options = parser.parse_args()
    stop = threading.Event()

    def until_told() -> None:
        sys.stdin.read()
        stop.set()

    threading.Thread(target=until_told, daemon=True).start()
    found, reported = Report(), 0.0
    while not stop.wait(_PAUSE):
        before = _machine(options.pid, all_threads=options.all_threads)
        began = time.monotonic()
        answer = _ask((options.host, options.port), options.request)
        seconds = time.monotonic() - began
        machine = _machine(options.pid, all_threads=options.all_threads) - before
        if stop.is_set():
            break
        found.asked += 1
        if not answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 400")):
            found.problems += 1
            found.first_problem = (
                found.first_problem or f"a well-behaved client got {answer[:80]!r}"
            )
        found.machine = max(found.machine, machine)
        slower = seconds - machine > found.slowest
        found.slowest = max(found.slowest, seconds - machine)
        if slower or time.monotonic() - reported > _REPORT_EVERY:
            reported = time.monotonic()
            _tell(found)
    _tell(found)


if __name__ == "__main__":
    main()
