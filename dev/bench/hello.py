"""The floor: aiohttp that answers every request at once, with a body as large as the service's.

Nothing that is built on aiohttp's application can cost less than this.

    python -m dev.bench.hello --port 8080 --containers 3
"""

from __future__ import annotations

import argparse
import asyncio
import signal

import msgspec
import uvloop
from aiohttp import web

from dev.bench.items import containers_of


async def run(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    containers = [
        {**container, "deletedAt": "2026-01-02T12:00:00.000Z"}
        for container in containers_of(options.containers)
    ]

    async def answer(request: web.Request) -> web.Response:
        body = {"itemId": request.match_info["item_id"], "outcome": "deleted"}
        return web.Response(
            body=msgspec.json.encode(body | {"containers": containers}),
            content_type="application/json",
        )

    app = web.Application()
    app.router.add_delete("/items/{item_id}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", options.port).start()
    print("ready", flush=True)
    await stop.wait()
    await runner.cleanup()


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dev.bench.hello")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--containers", type=int, default=3)
    return parser


if __name__ == "__main__":
    uvloop.run(run(arguments().parse_args()))
