"""Only the Items service's own word about the very item counts; all else proves nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.fakes import ITEM, OTHER_ITEM, T0, places

from catalogue.http.responses import Answer, Fault, Located, NoEvidence, from_cache, judge
from domain.messages import Container

JSON = "application/json"
PROBLEM = "application/problem+json"


def answer(status: int, body: Any = None, *, kind: str = JSON, **more: Any) -> Answer:
    return Answer(
        status, kind, body if isinstance(body, bytes) else json.dumps(body).encode(), **more
    )


def located(*names: str, item: str = ITEM, **more: Any) -> dict[str, Any]:
    listed = [{"containerId": name, "containerType": "group"} for name in names]
    return {"itemId": item, "containers": listed, **more}


def refused(given: Answer) -> NoEvidence:
    with pytest.raises(NoEvidence) as raised:
        judge(given, ITEM)
    assert str(raised.value)
    return raised.value


def test_a_200_tells_the_items_containers() -> None:
    assert judge(answer(200, located("a", "b", later="?")), ITEM) == Located(places("a", "b"))


def test_a_200_with_an_empty_list_says_that_it_is_nowhere_any_more() -> None:
    assert judge(answer(200, located()), ITEM) == Located(())


def test_an_item_may_be_named_in_upper_case() -> None:
    assert judge(answer(200, located("a", item=ITEM.upper())), ITEM) == Located(places("a"))


def test_containers_that_come_twice_are_left_to_the_machine_which_knows_what_that_means() -> None:
    assert judge(answer(200, located("a", "a")), ITEM) == Located(places("a", "a"))


def test_a_404_that_names_the_item_says_that_it_is_unknown() -> None:
    assert judge(answer(404, {"itemId": ITEM, "status": 404}, kind=PROBLEM), ITEM) is None


NOT_A_WORD = {
    "a proxy's page": answer(404, b"<html>not found</html>", kind="text/html"),
    "an empty one": answer(404, b"", kind=""),
    "JSON of somebody's": answer(404, {"itemId": ITEM}),
    "a router's problem": answer(
        404, {"status": 404, "instance": f"/api/items/{ITEM}/containers"}, kind=PROBLEM
    ),
    "about another item": answer(404, {"itemId": OTHER_ITEM}, kind=PROBLEM),
    "about no item": answer(404, {"itemId": "?"}, kind=PROBLEM),
    "about nothing": answer(404, {"itemId": None}, kind=PROBLEM),
    "no JSON": answer(404, b"not found", kind=PROBLEM),
    "too large": Answer(404, PROBLEM, None),
}


@pytest.mark.parametrize("what", NOT_A_WORD)
def test_a_404_that_is_not_the_items_services_word_proves_nothing(what: str) -> None:
    error = refused(NOT_A_WORD[what])
    assert error.fault is Fault.LASTING
    assert "TAKEDOWN_CATALOGUE_URL" in str(error)


BROKEN = {
    "no JSON": answer(200, b"{"),
    "nothing": answer(200, b""),
    "no UTF-8": answer(200, b'{"itemId":"\xff"}'),
    "a login page": answer(200, b"<html>", kind="text/html"),
    "no type": answer(200, located("a"), kind=""),
    "a list": answer(200, [located("a")]),
    "null": answer(200, None),
    "no itemId": answer(200, {"containers": []}),
    "no containers": answer(200, {"itemId": ITEM}),
    "null containers": answer(200, {"itemId": ITEM, "containers": None}),
    "a container without its type": answer(
        200, {"itemId": ITEM, "containers": [{"containerId": "a"}]}
    ),
    "a container without a name": answer(200, located("")),
    "a number for a name": answer(
        200, {"itemId": ITEM, "containers": [{"containerId": 1, "containerType": "x"}]}
    ),
    "another item": answer(200, located("a", item=OTHER_ITEM)),
    "another item, nowhere": answer(200, located(item=OTHER_ITEM)),
    "no UUID": answer(200, located("a", item="items/1")),
    "too deep": answer(200, b"[" * 100_000),
    "too large": Answer(200, JSON, None),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_200_that_is_not_what_the_contract_says_proves_nothing(what: str) -> None:
    assert refused(BROKEN[what]).fault is Fault.ODD


@pytest.mark.parametrize("status", [502, 503, 504, 429])
def test_what_may_pass_is_worth_a_retry(status: int) -> None:
    assert refused(answer(status)).fault is Fault.PASSING


@pytest.mark.parametrize("status", [301, 302, 307, 308, 401, 403, 407])
def test_what_meets_every_search_alike_is_lasting(status: int) -> None:
    error = refused(answer(status, located("a")))
    assert error.fault is Fault.LASTING
    assert str(status) in str(error)


@pytest.mark.parametrize("status", [201, 204, 206, 400, 405, 406, 410, 418, 451, 500, 501, 505])
def test_any_other_status_proves_nothing_and_may_be_about_the_item(status: int) -> None:
    body = {"itemId": ITEM, "containers": []}
    error = refused(answer(status, body))
    assert error.fault is Fault.ODD
    assert str(status) in str(error)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, 0.0),
        ("0", 0.0),
        ("7", 7.0),
        ("", 0.0),
        ("-1", 0.0),
        ("1.5", 0.0),
        ("٣", 0.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0),
        ("9" * 400, 999_999_999.0),
    ],
)
def test_retry_after_is_read_in_seconds(text: str | None, seconds: float) -> None:
    assert refused(answer(503, retry_after=text)).retry_after == seconds


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(ITEM),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["itemId", "containers", "containerId", "containerType"]) | st.text(),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
BODIES = st.binary(max_size=200) | ANY_JSON.map(lambda value: json.dumps(value).encode())


@settings(deadline=None)
@given(
    status=st.sampled_from([200, 404]) | st.integers(100, 599),
    kind=st.sampled_from([JSON, PROBLEM, "text/html", ""]),
    body=BODIES | st.none(),
)
@example(status=200, kind=JSON, body=json.dumps(located("a")).encode())
@example(status=404, kind=PROBLEM, body=json.dumps({"itemId": ITEM}).encode())
def test_whatever_comes_it_is_evidence_by_the_contract_or_none(
    status: int, kind: str, body: bytes | None
) -> None:
    try:
        told = judge(Answer(status, kind, body), ITEM)
    except NoEvidence:
        return
    assert body is not None
    message = json.loads(body)
    assert message["itemId"].lower() == ITEM
    if told is None:
        assert (status, kind) == (404, PROBLEM)
    else:
        assert (status, kind) == (200, JSON)
        assert [(c.container_id, c.container_type) for c in told.containers] == [
            (c["containerId"], c["containerType"]) for c in message["containers"]
        ]


NAMES = st.text(min_size=1).filter(lambda text: text.isprintable())


@settings(deadline=None)
@given(st.lists(st.builds(Container, NAMES, st.text()), max_size=5))
def test_a_list_by_the_contract_is_read_as_it_was_written(containers: list[Container]) -> None:
    listed = [
        {"containerId": c.container_id, "containerType": c.container_type} for c in containers
    ]
    told = judge(answer(200, {"itemId": ITEM, "containers": listed}), ITEM)
    assert told == Located(tuple(containers))


# --------------------------------------------------------------------------- from a cache


CACHED = {
    "an age": {"Age": "7"},
    "an age that is none": {"Age": "a while"},
    "a hit": {"X-Cache": "HIT"},
    "a hit in words": {"X-Cache": "Hit from cloudfront"},
    "a hit of Akamai's": {"X-Cache": "TCP_MEM_HIT from a23-4-5-6"},
    "a hit behind a miss": {"X-Cache": "MISS, HIT"},
    "a hit of nginx's": {"X-Cache-Status": "HIT"},
    "a stale one": {"CF-Cache-Status": "STALE"},
    "one that is being updated": {"X-Proxy-Cache": "UPDATING"},
    "a hit by RFC 9211": {"Cache-Status": "ExampleCache; hit; ttl=30"},
    "a hit of the second one": {"Cache-Status": '"A b"; fwd=uri-miss, B; ttl=1; hit=?1'},
    "another request's": {"Cache-Status": "A; fwd=uri-miss; collapsed"},
}

FRESH = {
    "nothing": {},
    "no age": {"Age": "0"},
    "a miss": {"X-Cache": "MISS", "CF-Cache-Status": "DYNAMIC"},
    "a miss in words": {"X-Cache": "Miss from cloudfront"},
    "one that was validated": {"X-Cache": "RefreshHit from cloudfront"},
    "one that was validated at Cloudflare": {"CF-Cache-Status": "REVALIDATED"},
    "a miss by RFC 9211": {"Cache-Status": "A; fwd=uri-miss; hit=?0; collapsed=?0; hits=3"},
    "how many hits there were": {"X-Cache-Hits": "0"},
}


@pytest.mark.parametrize("what", CACHED)
def test_an_answer_that_a_cache_gave_gives_itself_away(what: str) -> None:
    cause = from_cache(CACHED[what])
    assert cause is not None
    for told in (
        answer(200, located("a"), cached=cause),
        answer(404, {"itemId": ITEM}, kind=PROBLEM, cached=cause),
    ):
        error = refused(told)
        assert error.fault is Fault.CACHED
        assert cause in str(error)


@pytest.mark.parametrize("what", FRESH)
def test_an_answer_that_the_items_service_was_asked_for_is_fresh(what: str) -> None:
    assert from_cache(FRESH[what]) is None


@given(st.dictionaries(st.sampled_from(["Age", "X-Cache", "Cache-Status"]), st.text()))
def test_any_header_is_judged(headers: dict[str, str]) -> None:
    cause = from_cache(headers)
    assert cause is None or len(cause) < 200


def test_a_failure_from_a_cache_is_a_failure() -> None:
    assert refused(answer(503, b"", cached="Age: 7")).fault is Fault.PASSING


# --------------------------------------------------------------------------- a list's time


@pytest.mark.parametrize(
    ("published_at", "told"),
    [
        ("2026-01-02T03:04:05.678Z", T0),
        ("2026-01-02T05:04:05.678+02:00", T0),
        ("2026-01-02T05:04:05.678+02", T0),
        ("2026-01-02T03:04:05.678", None),
        ("yesterday", None),
        (1767323045678, None),
        (None, None),
        ("0001-01-01T00:00:00+10:00", None),
    ],
)
def test_a_list_may_name_its_time(published_at: Any, told: Any) -> None:
    found = judge(answer(200, located("a", publishedAt=published_at)), ITEM)
    assert found == Located(places("a"), told)
