"""Every status of the contract, with its exact body and headers."""

from __future__ import annotations

import aiohttp
import pytest
from support.answers import assert_deleted, assert_problem, take_down, until_read
from support.platform import NOW, Platform, confirm, container, containers, new_item_id


async def test_an_item_deleted_from_every_container_is_answered_with_200(
    http: aiohttp.ClientSession, api: str, items: Platform
) -> None:
    item_id = new_item_id()
    places = containers(3)
    await items.publish_item(item_id, places)
    items.on_request = confirm

    got = await take_down(http, api, item_id)

    assert_deleted(got, item_id, places)
    assert sorted(got.body["containers"], key=lambda c: c["containerId"]) == [
        {**place, "deletedAt": NOW.replace("678Z", "678000Z"), "confirmedBy": "deletion"}
        for place in places
    ]


async def test_every_answer_is_from_takedown_and_not_to_be_kept(
    http: aiohttp.ClientSession, api: str
) -> None:
    got = await take_down(http, api, new_item_id())

    assert got.headers["server"] == "takedown"
    assert got.headers["cache-control"] == "no-store"
    assert got.headers["x-content-type-options"] == "nosniff"


async def test_containers_are_told_with_the_types_they_were_published_with(
    http: aiohttp.ClientSession, api: str, items: Platform
) -> None:
    item_id = new_item_id()
    places = [container("a", "timeline"), container("b", ""), container("ü/ 'c'", "grüppe")]
    await items.publish_item(item_id, places)

    async def delete_with_another_type(platform: Platform, request: dict[str, str]) -> None:
        await platform.delete(item_id, container(request["containerId"], "something else"))

    items.on_request = delete_with_another_type
    got = await take_down(http, api, item_id)

    assert_deleted(got, item_id, places)
    requested = [(r["containerId"], r["containerType"]) for r in items.requests_for(item_id)]
    assert requested == [(p["containerId"], p["containerType"]) for p in places]


async def test_an_item_that_was_never_published_is_answered_with_404(
    http: aiohttp.ClientSession, api: str
) -> None:
    item_id = new_item_id()

    assert_problem(await take_down(http, api, item_id), 404, "item-not-found", item_id=item_id)


async def test_an_item_that_was_removed_is_answered_with_404(
    http: aiohttp.ClientSession, api: str, items: Platform
) -> None:
    item_id = new_item_id()
    await items.publish_item(item_id, containers(2))
    await items.remove_item(item_id)
    await until_read(http, api, items, item_id)  # till then its old list is all that is known

    assert_problem(await take_down(http, api, item_id), 404, "item-not-found", item_id=item_id)


async def test_an_item_whose_list_is_empty_is_answered_with_404(
    http: aiohttp.ClientSession, api: str, items: Platform
) -> None:
    item_id = new_item_id()
    await items.publish_item(item_id, [])

    assert_problem(await take_down(http, api, item_id), 404, "item-not-found", item_id=item_id)


@pytest.mark.parametrize("places", [[], containers(2)[1:]])
async def test_only_the_newest_list_of_an_item_counts(
    http: aiohttp.ClientSession, api: str, items: Platform, places: list[dict[str, str]]
) -> None:
    item_id = new_item_id()
    await items.publish_item(item_id, containers(3))
    await items.publish_item(item_id, places)
    await until_read(http, api, items, item_id)
    items.on_request = confirm

    got = await take_down(http, api, item_id)

    if places:
        assert_deleted(got, item_id, places)
    else:
        assert_problem(got, 404, "item-not-found", item_id=item_id)
    assert [r["containerId"] for r in items.requests_for(item_id)] == [
        p["containerId"] for p in places
    ]


async def test_an_item_that_comes_back_is_taken_down_again(
    http: aiohttp.ClientSession, api: str, items: Platform
) -> None:
    item_id = new_item_id()
    await items.publish_item(item_id, containers(1))
    await items.remove_item(item_id)
    await items.publish_item(item_id, containers(2))
    await until_read(http, api, items, item_id)
    items.on_request = confirm

    assert_deleted(await take_down(http, api, item_id), item_id, containers(2))


async def test_an_item_published_just_before_is_never_a_404(
    http: aiohttp.ClientSession, api: str, items: Platform
) -> None:
    items.on_request = confirm
    for _ in range(50):
        item_id = new_item_id()
        await items.publish_item(item_id, containers(1))
        assert_deleted(await take_down(http, api, item_id), item_id, containers(1))


async def test_an_item_in_twenty_containers_is_deleted_from_all_of_them(
    http: aiohttp.ClientSession, api: str, items: Platform
) -> None:
    item_id = new_item_id()
    await items.publish_item(item_id, containers(20))
    items.on_request = confirm

    assert_deleted(await take_down(http, api, item_id), item_id, containers(20))
    assert len(items.requests_for(item_id)) == 20


async def test_a_list_that_names_a_container_twice_means_one_container(
    http: aiohttp.ClientSession, api: str, items: Platform
) -> None:
    item_id = new_item_id()
    await items.publish_item(item_id, [container("a", "timeline"), container("b"), container("a")])
    items.on_request = confirm

    got = await take_down(http, api, item_id)

    assert_deleted(got, item_id, [container("a", "timeline"), container("b")])
    assert sorted(r["containerId"] for r in items.requests_for(item_id)) == ["a", "b"]


async def test_what_is_not_confirmed_in_time_is_answered_with_504(
    http: aiohttp.ClientSession, api: str, items: Platform
) -> None:
    item_id = new_item_id()
    places = containers(4)
    await items.publish_item(item_id, places)

    async def confirm_two(platform: Platform, request: dict[str, str]) -> None:
        if request["itemId"] == item_id and request["containerId"] in {"c1", "c2"}:
            await confirm(platform, request)

    items.on_request = confirm_two
    got = await take_down(http, api, item_id, [("Prefer", "wait=1")])

    assert_problem(
        got,
        504,
        "deadline-passed",
        item_id=item_id,
        deleted=[places[1], places[2]],
        outstanding=[places[0], places[3]],
    )


async def test_an_id_that_is_not_a_uuid_is_answered_with_400(
    http: aiohttp.ClientSession, api: str
) -> None:
    assert_problem(await take_down(http, api, "42"), 400, "invalid-item-id")


async def test_a_bad_header_is_answered_with_400_that_names_the_item(
    http: aiohttp.ClientSession, api: str
) -> None:
    item_id = new_item_id()

    got = await take_down(http, api, item_id.upper(), [("Prefer", "wait=soon")])

    assert_problem(got, 400, "invalid-prefer", item_id=item_id)
    assert "Prefer" in got.body["detail"]


async def test_an_id_in_upper_case_is_the_same_item_and_answered_in_its_canonical_form(
    http: aiohttp.ClientSession, api: str, items: Platform
) -> None:
    item_id = new_item_id()
    await items.publish_item(item_id, containers(1))
    items.on_request = confirm

    assert_deleted(await take_down(http, api, item_id.upper()), item_id, containers(1))
    (request,) = items.requests_for(item_id)
    assert request["itemId"] == item_id


async def test_an_item_published_in_upper_case_is_the_same_item(
    http: aiohttp.ClientSession, api: str, items: Platform
) -> None:
    item_id = new_item_id()
    await items.publish_item(item_id.upper(), containers(1))
    items.on_request = confirm

    assert_deleted(await take_down(http, api, item_id), item_id, containers(1))
