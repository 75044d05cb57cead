"""Take the pictures of the dashboard that the docs show, of a demo under load.

Starts `takedown demo --load`, lets it run until its charts have something to show, and visits
each view with Chromium: light and dark, at the size of a laptop and of a phone.
"""

import argparse
import asyncio
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer
from PIL import Image
from playwright.async_api import Browser, async_playwright

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "pictures"
MOST_BYTES = 150_000
COMMONEST = 160
MOST_LANES = 5
SIZES = {"laptop": (1366, 768), "phone": (390, 844)}
SCHEMES: tuple[Any, ...] = ("light", "dark")
UNREADABLE = (b"not json at all", b'{"itemId": 17}', b'{"itemId":"no uuid","containerId":"a"}')
ARGUMENTS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


def get(address: str, path: str) -> Any:
    with urllib.request.urlopen(address + path) as answer:  # noqa: S310 - our own
        return json.load(answer)


class Program:
    """A command of takedown, with a folder of its own for its catalogue."""

    def __init__(self, *arguments: str, **settings: object) -> None:
        self._folder = tempfile.mkdtemp(prefix="takedown-pictures-")
        settings = {"catalogue_folder": self._folder, "log_format": "json", **settings}
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TAKEDOWN_")}
        environment |= {f"TAKEDOWN_{name.upper()}": str(each) for name, each in settings.items()}
        self._process = subprocess.Popen(  # noqa: S603 - our own
            [sys.executable, ROOT / "service.py", *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ready(self) -> dict[str, Any]:
        """Its event `ready`; what it writes later is read, so that it need not wait."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event: dict[str, Any] = json.loads(line) if line.startswith("{") else {}
            if event.get("event") == "ready":
                threading.Thread(target=self._process.stdout.read, daemon=True).start()
                return event
        raise SystemExit("It did not get ready")

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(30)
        finally:
            self._process.kill()
            shutil.rmtree(self._folder, ignore_errors=True)


async def spoil(kafka: str) -> None:
    """Write some records that nobody can read."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    await producer.start()
    try:
        for value in UNREADABLE:
            await producer.send_and_wait("item_deleted", value)
    finally:
        await producer.stop()


def _lanes(takedown: Any) -> int:
    """More is better, as long as each has a lane of its own."""
    containers = takedown["containersTotal"] or 0
    return containers if containers <= MOST_LANES else 0


def deleted(address: str) -> str:
    """One that went well, in as many containers as have a lane each; they are not kept for long."""
    found = get(address, "/takedowns/recent?outcome=Deleted&limit=100")["takedowns"]
    some = [each for each in found if each["containersTotal"] in {3, 4, 5}][:20]
    lines = [get(address, f"/takedowns/{each['takedownId']}") for each in some]
    best = max(lines, key=lambda line: sum(bool(each["heardAt"]) for each in line["containers"]))
    return f"takedowns/{best['takedownId']}"


def timed_out(address: str) -> str:
    """One that did not, with something that came too late if there is such a one."""
    found = get(address, "/takedowns/recent?outcome=TimedOut&limit=100")["takedowns"]
    best = max(found, key=lambda each: (each["lateEvents"] > 0, _lanes(each)))
    return f"takedowns/{best['takedownId']}"


VIEWS: dict[str, Callable[[str], str]] = {
    "in-flight": lambda _: "in-flight",
    "machine": lambda _: "machine",
    "takedowns": lambda _: "takedowns",
    "takedown-200": deleted,
    "takedown-504": timed_out,
    "parts": lambda _: "parts",
    "kafka": lambda _: "kafka",
    "outcomes": lambda _: "outcomes?minutes=2",
    "trouble": lambda _: "trouble",
}
"""Names of pictures, and the places they are of."""


def with_palette(picture: Image.Image) -> Image.Image:
    """The same with 256 colours, in a third of the bytes: the commonest exactly, and some more."""
    counted: Any = picture.getcolors(1 << 24)
    commonest = [colour for _, colour in sorted(counted, reverse=True)[:COMMONEST]]
    others = picture.quantize(256 - COMMONEST, Image.Quantize.MAXCOVERAGE).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([*itertools.chain(*commonest), *others])
    return picture.quantize(palette=palette, dither=Image.Dither.NONE)


async def take(browser: Browser, address: str, size: str, scheme: Any) -> None:
    width, height = SIZES[size]
    page = await browser.new_page(
        viewport={"width": width, "height": height}, color_scheme=scheme, device_scale_factor=1
    )
    for name, place in VIEWS.items():
        await page.goto("about:blank")  # else the same page only changes its view
        await page.goto(f"{address}/#/{place(address)}")
        await page.wait_for_timeout(2500)
        path = FOLDER / f"{name}-{scheme}-{size}.png"
        picture = Image.open(BytesIO(await page.screenshot())).convert("RGB")
        with_palette(picture).save(path, optimize=True)
        if path.stat().st_size > MOST_BYTES:
            raise SystemExit(f"{path.name} is too large: {path.stat().st_size} bytes")
        print(f"{path.relative_to(ROOT)}  {path.stat().st_size // 1024} KiB")
    await page.close()


async def shoot(address: str, kafka: str, seconds: float) -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("Chromium is not installed")
    await asyncio.sleep(seconds)
    await spoil(kafka)
    FOLDER.mkdir(parents=True, exist_ok=True)
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        for size in SIZES:
            for scheme in SCHEMES:
                await take(browser, address, size, scheme)
        await browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--load", type=float, default=20, help="takedowns for each second")
    parser.add_argument("--seconds", type=float, default=150, help="of load before the pictures")
    options = parser.parse_args()
    with ExitStack() as programs:
        broker = Program("broker", broker_port=0)
        programs.callback(broker.stop)
        kafka = broker.ready()["kafka"]
        demo = Program(
            "demo",
            load=options.load,
            kafka_bootstrap_servers=kafka,
            kafka_fetch_max_wait=0.01,
            topics_create="true",
            catalogue_may_be_empty="true",
            **dict.fromkeys(("http_port", "admin_port", "items_http_port"), 0),
        )
        programs.callback(demo.stop)
        asyncio.run(shoot(demo.ready()["admin"], kafka, options.seconds))


if __name__ == "__main__":
    main()
