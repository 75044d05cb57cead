"""The catalogue over HTTP behind a real nginx that caches, as its documentation shows it.

nginx ignores a request's `Cache-Control`, and adds no header that shows that an answer is stored.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.answers import assert_deleted, assert_problem, caller, take_down
from support.asking import until_ready, wait_for_servers
from support.platform import Names, container, new_item_id
from support.processes import Process, running
from support.proxies import free_port, nginx


@pytest.fixture
def folder() -> Iterator[Path]:
    """For nginx: as root it gives up its rights, and then must still get to its cache."""
    with tempfile.TemporaryDirectory(prefix="takedown-test-") as path:
        folder = Path(path)
        folder.chmod(0o755)
        yield folder


async def test_a_cache_that_does_not_show_itself_makes_no_answer_an_old_one(
    broker: Process, names: Names, folder: Path
) -> None:
    kafka = {
        "kafka_bootstrap_servers": broker.wait_for_event("ready")["kafka"],
        "kafka_fetch_max_wait": 0.01,
        "log_format": "json",
        **names.settings(),
    }
    port = free_port()
    caching = {
        "http": f"proxy_cache_path {folder}/cache keys_zone=items:1m;",
        "location": "proxy_cache items; proxy_cache_valid 200 404 10m;",
    }
    with (
        running("items-service", items_http_port=port, **kafka) as items,
        nginx(folder, (port, port), **caching) as url,
    ):
        items.wait_for_event("ready")
        with running(
            "serve", http_port=0, admin_port=0, timeout=3, catalogue_url=url, **kafka
        ) as service:
            api, admin = await wait_for_servers(service)
            async with caller() as http:
                await until_ready(http, admin)
                item_id = new_item_id()
                got = await take_down(http, api, item_id)
                assert_problem(got, 404, "item-not-found", item_id=item_id)

                # It is published now, elsewhere as well a moment later, and gone in the end.
                for places in ([container("a")], [container("a"), container("b")]):
                    body = {"containers": places}
                    address = f"http://127.0.0.1:{port}/items/{item_id}"
                    async with http.put(address, json=body) as answer:
                        assert answer.status in {200, 201}, await answer.text()
                    assert_deleted(await take_down(http, api, item_id), item_id, places)
                got = await take_down(http, api, item_id)
                assert_problem(got, 404, "item-not-found", item_id=item_id)
