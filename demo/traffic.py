"""Traffic for `takedown demo --load`: callers and a platform that are never quite still.

It is made of scenes. Each publishes an item of its own through the Items service's API and asks
for its takedown at the public API, as a real caller does; so everything that it shows has
really happened. They come at random moments, at the rate that was asked for on average.
"""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from demo.items_service.sample import DEMO_FAULTS, sample_places
from domain.messages import Container, ContainerId

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    Scene = Callable[[], Awaitable[None]]

logger = logging.getLogger("takedown.demo")

_MOST_AT_ONCE = 2000
"""Scenes at the same time; when there are so many, no new one begins."""

_SLOW: Final = "archive"
_NEVER: Final = "vault"


class Traffic:
    """Plays scenes until it is cancelled.

    Args:
        server: address of the public API.
        items: address of the Items service's API.
        rate: takedowns for each second, on average.
        seed: makes the rng repeatable; None leaves them to chance.
    """

    def __init__(self, *, api: str, items: str, rate: float, seed: int | None = None) -> None:
        self._api = api
        self._items = items
        self._rate = rate
        self._rng = random.Random(seed)  # noqa: S311 - scenes are not cryptography
        self._http: aiohttp.ClientSession | None = None
        self._scenes: tuple[tuple[float, Scene], ...] = (
            (84, self._plain),
            (6, self._slow),
            (4, self._changing),
            (3, self._unknown),
            (1.5, self._never),
            (1, self._too_late),
            (0.5, self._nonsense),
        )
        self.answers: Counter[int] = Counter()

    async def run(self) -> None:
        """Go on until cancelled; what has begun is then abandoned."""
        weights = [weight for weight, _ in self._scenes]
        scenes = [scene for _, scene in self._scenes]
        playing: set[asyncio.Task[None]] = set()
        loop = asyncio.get_running_loop()
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as self._http:
            try:
                due = loop.time()
                while True:
                    due = max(due + self._rng.expovariate(self._rate), loop.time() - 1)
                    await asyncio.sleep(due - loop.time())
                    if len(playing) < _MOST_AT_ONCE:
                        (scene,) = self._rng.choices(scenes, weights)
                        task = loop.create_task(self._play(scene))
                        playing.add(task)
                        task.add_done_callback(playing.discard)
            finally:
                for task in playing:
                    task.cancel()
                await asyncio.gather(*playing, return_exceptions=True)

    async def _play(self, scene: Scene) -> None:
        try:
            await scene()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            logger.debug("A scene broke off: %r", error)

    # ------------------------------------------------------------------------- scenes

    async def _plain(self) -> None:
        await self._take_down(await self._publish(self._places()))

    async def _slow(self) -> None:
        """One container takes seconds."""
        await self._take_down(await self._publish([*self._places(), _place(_SLOW, "cold-storage")]))

    async def _changing(self) -> None:
        """It is passed on, and leaves a container, while it is taken down."""
        places = [*self._places(), _place(_SLOW, "cold-storage")]
        item = await self._publish(places)
        asked = asyncio.ensure_future(self._take_down(item))
        try:
            await asyncio.sleep(self._rng.uniform(0.2, 0.8))
            await self._publish([*places[-1:], _place("group", "passed-on")], item)
            await asked
        finally:
            asked.cancel()

    async def _unknown(self) -> None:
        await self._take_down(str(uuid.UUID(int=self._rng.getrandbits(128), version=4)))

    async def _never(self) -> None:
        """One container never confirms."""
        item = await self._publish([*self._places(), _place(_NEVER, "sealed")])
        await self._take_down(item, wait=self._rng.randint(3, 8))

    async def _too_late(self) -> None:
        """The caller does not wait for as long as it takes."""
        item = await self._publish([*self._places(), _place(_SLOW, "cold-storage")])
        await self._take_down(item, wait=1)

    async def _nonsense(self) -> None:
        await self._take_down("not-an-item")

    # ------------------------------------------------------------------------- acting

    def _places(self) -> list[Container]:
        return list(sample_places(self._rng))

    async def _publish(self, places: Sequence[Container], item: str | None = None) -> str:
        assert self._http is not None
        body = {
            "containers": [
                {"containerId": each.container_id, "containerType": each.container_type}
                for each in places
            ]
        }
        method, path = ("POST", "/items") if item is None else ("PUT", f"/items/{item}")
        async with self._http.request(method, self._items + path, json=body) as answer:
            answer.raise_for_status()
            published: dict[str, Any] = await answer.json()
            return str(published["itemId"])

    async def _take_down(self, item: str, *, wait: int | None = None) -> None:
        assert self._http is not None
        headers = {} if wait is None else {"Prefer": f"wait={wait}"}
        async with self._http.delete(f"{self._api}/items/{item}", headers=headers) as answer:
            await answer.read()
            self.answers[answer.status] += 1


def _place(container_type: str, name: str) -> Container:
    return Container(ContainerId(f"{container_type}:{name}"), container_type)


LOAD_FAULTS = replace(
    DEMO_FAULTS, latency=0.0, jitter=0.0, work=0.3, slow=frozenset({_SLOW}), slow_work=4.0
)
"""What goes wrong at the Items service under this traffic."""
