"""A board and a screen for each test; whatever goes wrong on the page fails the test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from support.browsing import LAPTOP, Board, Screen, board, browsing


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "browser" in item.path.parts:
            item.add_marker(pytest.mark.browser)


@pytest.fixture
async def own() -> AsyncIterator[Board]:
    async with board(pool_max=10_000) as own:
        yield own


@pytest.fixture
async def screen(own: Board) -> AsyncIterator[Screen]:
    async with browsing() as browser:
        page = await browser.new_page(viewport=LAPTOP)
        screen = Screen(page, own.address)
        screen.watch()
        yield screen
        problems = screen.unexpected()
        await page.close()
    assert problems == []
