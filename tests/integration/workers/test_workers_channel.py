"""The line between a worker and its supervisor, with processes that do what they like."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from pathlib import Path

import pytest
from support.processes import ROOT

from app.workers.ipc import AdminApiOpened, Link, PublicApiOpened, decode
from app.workers.process import WorkerProcess

PREAMBLE = f"import socket, sys, time; sys.path.insert(0, {str(ROOT)!r}); "


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def start(script: str) -> WorkerProcess:
    return await WorkerProcess.start(
        lambda fileno: [sys.executable, "-c", PREAMBLE + script, str(fileno)], dict(os.environ)
    )


async def test_what_a_worker_reports_is_heard_and_nonsense_between_is_skipped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    worker = await start(
        "from app.workers.ipc import *\n"
        "raw = socket.socket(fileno=int(sys.argv[1]))\n"
        "link = Link(raw.detach())\n"
        'link._socket.sendall(b\'nonsense\\n{"type":"news"}\\n\\n\')\n'
        "link.report(AdminApiOpened('http://x'))\n"
        "link.report(PublicApiOpened())\n"
        "link._socket.sendall(b'half a li')\n"
        "time.sleep(0.3); sys.exit(3)"
    )
    waiting = asyncio.create_task(worker.wait())
    async with asyncio.timeout(10):
        await worker.reported.wait()
    assert worker.admin == "http://x"
    with caplog.at_level(logging.CRITICAL):
        assert await waiting == "with status 3"
    assert not worker.listening, "nobody who has ended listens"


async def test_a_signal_to_a_process_that_has_ended_is_nothing() -> None:
    worker = await start("sys.exit(0)")
    assert await worker.wait() == "with status 0"
    worker.terminate()
    worker.kill()


async def test_the_end_by_a_signal_is_said_by_its_name_if_it_has_one() -> None:
    worker = await start("time.sleep(60)")
    os.kill(worker.pid, signal.SIGSTOP)
    worker.kill()
    assert await worker.wait() == "by SIGKILL"
    worker = await start("time.sleep(60)")
    os.kill(worker.pid, 40)
    assert await worker.wait() == "by signal 40"


async def test_a_program_that_is_not_there_leaves_no_socket_behind() -> None:
    before = open_files()
    with pytest.raises(OSError, match="No such file"):
        await WorkerProcess.start(lambda _fileno: ["/does/not/exist"], {})
    assert open_files() == before


async def test_a_worker_that_hangs_ends_all_the_same_when_its_supervisor_has_gone() -> None:
    ours, theirs = socket.socketpair()
    script = (
        PREAMBLE + "from app.workers.ipc import Link; link = Link(int(sys.argv[1])); "
        "link.watch(lambda: print('gone', flush=True), linger=0.5); print('on', flush=True)\n"
        "while True: pass"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script, str(theirs.fileno())),
        pass_fds=[theirs.fileno()],
        stdout=asyncio.subprocess.PIPE,
    )
    theirs.close()
    assert process.stdout is not None
    assert await process.stdout.readline() == b"on\n"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await process.wait()
    ours.close()
    async with asyncio.timeout(10):
        assert await process.stdout.readline() == b"gone\n"
        assert await process.wait() == 1


def test_a_worker_without_a_supervisor_has_nobody_to_tell() -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    link = Link(theirs.detach())
    link.report(PublicApiOpened())
    link._socket.close()


def test_a_report_is_read_as_it_was_written() -> None:
    ours, theirs = socket.socketpair()
    link = Link(theirs.detach())
    with ours:
        link.report(AdminApiOpened("http://127.0.0.1:1"))
        assert decode(ours.recv(1024)) == AdminApiOpened("http://127.0.0.1:1")
    link._socket.close()
