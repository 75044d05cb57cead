"""`takedown demo --load`: what it asks for really happens, and it ends with the demo."""

from __future__ import annotations

import asyncio

import aiohttp
from support.processes import running
from support.served import eventually


async def test_the_demo_under_load_has_answers_of_every_usual_kind_and_ends_well() -> None:
    with running(
        "demo",
        load=60,
        http_port=0,
        admin_port=0,
        items_http_port=0,
        log_format="json",
        log_level="info",
    ) as demo:
        ready = await asyncio.to_thread(demo.wait_for_event, "ready")
        async with aiohttp.ClientSession(ready["admin"]) as http:

            async def every_kind() -> bool:
                async with http.get("/overview") as answer:
                    seen = (await answer.json())["outcomes"]
                return {"Deleted", "NotFound", "TimedOut"} <= set(seen)

            await eventually(every_kind, within=40)
            async with http.get("/overview") as answer:
                overview = await answer.json()
            # Callers who do not wait for long enough are few.
            assert overview["outcomes"]["Deleted"] > overview["outcomes"]["TimedOut"]
            assert overview["inFlight"] > 0
        assert await asyncio.to_thread(demo.stop) == 0
    assert not [each for each in demo.events() if each.get("level") in {"error", "critical"}]
