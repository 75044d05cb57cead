"""The client beside a fuzzer notices what it is there for."""

from __future__ import annotations

import os
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fuzz.neighbour import NEIGHBOUR_WITHIN, Neighbour

OK = b"HTTP/1.1 200 OK\r\n\r\n"


@contextmanager
def server(answer: bytes, *, after: float = 0.0) -> Iterator[tuple[str, int]]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1000)
            time.sleep(after)
            self.request.sendall(answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        try:
            yield ("127.0.0.1", listening.server_address[1])
        finally:
            listening.shutdown()
            thread.join()


def complaint_about(answer: bytes, *, after: float = 0.0) -> str:
    with server(answer, after=after) as address:
        client = Neighbour(address, os.getpid(), b"GET / HTTP/1.1\r\n\r\n")
        with client:
            while not client.report.asked:
                time.sleep(0.01)
        return client.complaint()


def test_a_client_that_is_answered_has_nothing_to_complain_of() -> None:
    assert complaint_about(OK) == ""


def test_a_client_that_waits_too_long_complains() -> None:
    assert "a well-behaved client waited" in complaint_about(OK, after=2 * NEIGHBOUR_WITHIN)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 500 No\r\n\r\n", b""])
def test_a_client_that_gets_another_answer_complains(answer: bytes) -> None:
    assert "times, first: a well-behaved client got" in complaint_about(answer)


def test_a_client_that_was_never_answered_complains() -> None:
    client = Neighbour(("127.0.0.1", 1), os.getpid(), b"")
    assert client.complaint() == "a well-behaved client was never answered"
