"""What we rely on inside of aiohttp: an upgrade that changes one of these fails here first.

`web/server.py` builds on `web.RequestHandler`, which is public by name and not documented to be
built on. What its answers look like is tested in `test_server.py`.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest
from aiohttp import web
from aiohttp.helpers import rfc822_formatted_time

from web.connection import ConnectionLimit
from web.server import _ApplicationsConnection, _Connection


def parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_a_connection_takes_the_options_that_we_give_it() -> None:
    assert {
        "manager",
        "loop",
        "access_log",
        "keepalive_timeout",
        "lingering_time",
        "max_line_size",
        "max_field_size",
        "max_headers",
        "auto_decompress",
    } <= set(parameters(web.RequestHandler))


@pytest.mark.parametrize(
    ("ours", "name"),
    [
        (_Connection, "connection_made"),
        (_Connection, "connection_lost"),
        (_Connection, "handle_error"),
        (_ApplicationsConnection, "finish_response"),
    ],
)
def test_what_we_override_is_there_and_has_these_parameters(ours: Any, name: str) -> None:
    theirs = getattr(web.RequestHandler, name)
    assert parameters(getattr(ours, name)) == parameters(theirs)
    assert inspect.iscoroutinefunction(getattr(ours, name)) == inspect.iscoroutinefunction(theirs)


def test_none_of_our_own_attributes_is_one_of_theirs() -> None:
    theirs = {
        slot for each in web.RequestHandler.__mro__ for slot in getattr(each, "__slots__", ())
    }
    assert {"_manager"} <= theirs
    assert not {"_maximum", "_refused"} & (theirs | set(dir(web.RequestHandler)))


class Transport(asyncio.Transport):
    """What `connection_made` is given."""

    aborted = False

    def abort(self) -> None:
        self.aborted = True

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def is_closing(self) -> bool:
        return self.aborted

    def close(self) -> None:
        self.aborted = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


async def handler(_request: web.BaseRequest) -> web.Response:
    return web.Response()


def connection(server: web.Server, maximum: int) -> _Connection:
    limit = ConnectionLimit(maximum)
    return _Connection(server, limit=limit, loop=asyncio.get_running_loop(), access_log=None)


async def test_a_server_counts_the_connections_that_were_made_and_not_lost() -> None:
    server = web.Server(handler)
    one = connection(server, 1)
    one.connection_made(Transport())
    assert len(server.connections) == 1
    await asyncio.sleep(0)
    one.connection_lost(None)
    await asyncio.sleep(1)  # its task ends first
    assert len(server.connections) == 0
    await server.shutdown(0)


async def test_one_that_is_refused_before_it_was_made_leaves_nothing() -> None:
    server = web.Server(handler)
    refused, transport = connection(server, 0), Transport()
    refused.connection_made(transport)
    assert transport.aborted
    refused.data_received(b"GET / HTTP/1.1\r\n\r\n")  # takes no more data
    refused.connection_lost(None)
    assert len(server.connections) == 0
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == 1
    await server.shutdown(0)


async def test_a_runner_gives_its_server_and_the_server_can_be_shut_down_in_two_steps() -> None:
    runners: list[web.BaseRunner] = [
        web.ServerRunner(web.Server(handler)),
        web.AppRunner(web.Application(), access_log=None),
    ]
    for runner in runners:
        await runner.setup()
        assert isinstance(runner.server, web.Server)
        runner.server.pre_shutdown()
        await runner.server.shutdown(0)
        await runner.cleanup()


def test_an_error_of_http_is_an_answer_too() -> None:
    assert issubclass(web.HTTPException, web.Response)


def test_the_date_is_made_as_http_writes_it() -> None:
    assert rfc822_formatted_time().endswith(" GMT")
