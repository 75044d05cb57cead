"""What the tests of this folder do again and again."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

from support.processes import Process

READY_WITHIN = 20.0


async def readiness(http: aiohttp.ClientSession, admin: str) -> tuple[int, dict[str, Any]]:
    async with http.get(f"{admin}/readyz") as answer:
        return answer.status, (await answer.json())["checks"]


async def until_ready(http: aiohttp.ClientSession, admin: str, *, status: int = 200) -> None:
    async with asyncio.timeout(READY_WITHIN):
        while (await readiness(http, admin))[0] != status:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)


async def wait_for_servers(process: Process) -> tuple[str, str]:
    """Both addresses, also of a service that is not ready yet."""
    event = await asyncio.to_thread(process.wait_for_event, "listening")
    return event["http"], event["admin"]


async def take_down(
    http: aiohttp.ClientSession, api: str, item_id: str, **headers: str
) -> tuple[int, dict[str, Any], float]:
    loop = asyncio.get_running_loop()
    started = loop.time()
    async with http.delete(f"{api}/items/{item_id}", headers=headers) as answer:
        return answer.status, await answer.json(), loop.time() - started
