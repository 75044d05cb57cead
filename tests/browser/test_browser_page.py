"""The page itself: views, keys, themes, sizes, a stream that is lost, and texts from outside."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import expect
from support.browsing import PHONE, WITHIN, Board, Screen
from support.settling import settle

HOSTILE = '<img src="x" onerror="window.hacked=1"><script>window.hacked=1</script>"\'&amp;'
VIEWS = ["in-flight", "machine", "takedowns", "parts", "kafka", "outcomes", "trouble"]


async def a_bit_of_everything(own: Board) -> str:
    """A 200, a 404, a 504 that stays in sight, an incident; returns a takedown's id."""
    done, lost = own.item(("group:a", "group")), own.item(("vault:b", "vault"))
    asked = own.ask(done)
    own.ask(lost, seconds=0.3)
    await settle()
    own.look.office.publisher.last.acknowledge()
    own.confirm(done)
    own.look.observatory.losses.skipped("item_deleted", 3, 1712, "no JSON")
    await settle()
    return asked.takedown_id


@pytest.mark.parametrize("size", ["laptop", "phone"])
async def test_every_view_fits_and_shows_something(own: Board, screen: Screen, size: str) -> None:
    takedown_id = await a_bit_of_everything(own)
    if size == "phone":
        await screen.page.set_viewport_size(PHONE)
    await screen.open()
    for view in [*VIEWS, f"takedowns/{takedown_id}"]:
        await screen.page.evaluate(f"location.hash = '#/{view}'")
        await expect(screen.find("main .view")).to_be_visible(timeout=WITHIN * 1000)
        await screen.sees("main .view", {"trouble": "no JSON"}.get(view, ""))
        await asyncio.sleep(0.3)  # for what comes with the stream
        beyond = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert await screen.page.evaluate(beyond) == 0, view
        beyond = "(e => e.scrollWidth - e.clientWidth)(document.querySelector('main'))"
        assert await screen.page.evaluate(beyond) == 0, view


async def test_everything_can_be_done_with_the_keyboard_alone(own: Board, screen: Screen) -> None:
    items = [own.item(("group:a", "group")) for _ in range(3)]
    asked = [own.ask(item) for item in items]
    await screen.open()
    await screen.has_rows(3)

    await screen.press("j", "j", "ArrowDown", "k")
    chosen = screen.find(".row[aria-selected=true]:visible")
    await expect(chosen).to_have_count(1)
    await expect(chosen).to_have_attribute("aria-rowindex", "2")
    active = await screen.find(".scroll").get_attribute("aria-activedescendant")
    assert active == await chosen.get_attribute("id")
    await screen.press("Enter")
    await screen.sees(".title h1", asked[1].takedown_id)
    await screen.press("Escape")
    await screen.has_rows(3)

    for number, view in enumerate(VIEWS, start=1):
        await screen.press(str(number))
        await expect(screen.find("nav a[aria-current=page]")).to_have_attribute("href", f"#/{view}")
    await screen.press("?")
    await expect(screen.find("dialog.keys")).to_be_visible()
    await screen.press("Escape")
    await expect(screen.find("dialog.keys")).to_be_hidden()

    await screen.press("1")
    await screen.press("/")
    await screen.page.keyboard.type("1")  # a digit of an id, and not a view
    await expect(screen.find("nav a[aria-current=page]")).to_have_attribute("href", "#/in-flight")
    await screen.press("Escape")

    await screen.page.reload()
    await screen.has_rows(3)
    seen = []
    for _ in range(15):
        await screen.press("Tab")
        seen.append(
            await screen.page.evaluate(
                "(e => [e.tagName, getComputedStyle(e).outlineStyle])(document.activeElement)"
            )
        )
    assert all(style != "none" for _, style in seen), seen  # where one is can be seen


async def test_dark_and_light_follow_the_system_until_somebody_chooses(
    screen: Screen,
) -> None:
    background = "getComputedStyle(document.documentElement).backgroundColor"
    await screen.page.emulate_media(color_scheme="light")
    await screen.open()
    light = await screen.page.evaluate(background)
    await screen.page.emulate_media(color_scheme="dark")
    dark = await screen.page.evaluate(background)
    assert light != dark

    await screen.find("button.theme").click()
    assert await screen.page.evaluate(background) == light
    await screen.open()
    assert await screen.page.evaluate(background) == light
    await screen.find("button.theme").click()
    assert await screen.page.evaluate(background) == dark


async def test_whoever_wants_no_motion_gets_none(screen: Screen) -> None:
    await screen.page.emulate_media(reduced_motion="reduce")
    await screen.open("#/machine")
    await screen.sees(".node .name", "Idle")

    assert await screen.page.evaluate("document.getAnimations().length") == 0


async def test_hostile_texts_are_text_wherever_they_are_shown(own: Board, screen: Screen) -> None:
    await screen.page.add_init_script(
        "addEventListener('securitypolicyviolation',"
        " e => console.error('CSP', e.violatedDirective, e.blockedURI))"
    )
    item = own.item((HOSTILE, HOSTILE), ("b", HOSTILE))
    asked = own.ask(item, seconds=30)
    await settle()
    office, look = own.look.office, own.look
    look.observatory.losses.skipped(HOSTILE, 0, 1, HOSTILE)
    office.missing = HOSTILE
    look.deletions.last_error = HOSTILE
    look.producer.last_error = HOSTILE

    await screen.open()
    await screen.sees(".row .waits", HOSTILE)
    await screen.sees(".pill.ready", f"Not ready: kafka consumer: {HOSTILE}")
    await screen.press("5")
    await screen.sees(".reader", HOSTILE)
    await screen.sees(".kafka .card.alarm, .kafka .grid", HOSTILE)
    await screen.press("7")
    await screen.sees(".trouble td:text-is('0') >> xpath=..", HOSTILE)

    office.missing = None
    office.publisher.last.fail(cause=HOSTILE)
    await screen.page.goto(f"{screen.address}/#/takedowns/{asked.takedown_id}")
    await screen.sees(".why", HOSTILE)
    await screen.sees(".timeline", HOSTILE[:20])
    await screen.sees(".sequence", HOSTILE[:10])
    await screen.sees(".steps", HOSTILE)

    assert await screen.page.evaluate("window.hacked") is None
    assert await screen.find("main img, main script, header script").count() == 0


async def test_the_page_may_run_nothing_that_is_not_its_own(screen: Screen) -> None:
    await screen.open()
    screen.expected += ["Content Security Policy"]

    await screen.page.evaluate(
        """() => {
            const script = document.createElement('script');
            script.textContent = 'window.hacked = 1';
            document.body.append(script);
            const div = document.createElement('div');
            div.innerHTML = '<img src="data:," onerror="window.hacked = 1">';
            document.body.append(div);
        }"""
    )
    await asyncio.sleep(0.3)

    assert await screen.page.evaluate("window.hacked") is None
    assert any("Content Security Policy" in problem for problem in screen.problems)


async def test_a_lost_stream_is_said_with_the_age_of_what_is_shown_and_comes_back(
    own: Board, screen: Screen
) -> None:
    screen.expected += ["ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED", "ERR_CONNECTION_RESET"]
    item = own.item(("group:a", "group"))
    own.ask(item)
    await screen.open()
    await screen.has_rows(1)

    await own.close_server()
    await screen.sees(".stream", "Stream lost: what is shown is")
    age = await screen.find(".row .age").first.inner_text()
    await asyncio.sleep(0.5)
    assert await screen.find(".row .age").first.inner_text() == age  # it may be over by now
    own.confirm(item)

    await own.open_server()
    await screen.sees(".stream", "live")
    await screen.has_rows(0)


async def test_the_header_says_which_check_fails_in_its_own_words(
    own: Board, screen: Screen
) -> None:
    own.look.office.missing = "the positions are not known yet"
    await screen.open()
    await screen.sees(".pill.ready", "Not ready: kafka consumer: the positions are not known yet")

    own.look.office.missing = None
    await screen.sees(".pill.ready", "Ready")


async def test_what_is_stuck_is_red_on_every_view(own: Board, screen: Screen) -> None:
    watch = own.look.observatory.watch
    await screen.open("#/kafka")
    await expect(screen.find(".banner")).to_be_hidden()

    own.watching.cancel()  # else it says a second later that this is over
    await watch.tick(7.0)  # as if the loop had been held up for so long
    await screen.sees(".banner", "1 stuck")
    await screen.press("7")
    await screen.sees(".trouble tr.bad", "event loop held up")


async def test_the_page_of_one_of_several_workers_stays_with_that_worker(
    own: Board, screen: Screen
) -> None:
    asked: list[str] = []
    screen.page.on("request", lambda request: asked.append(request.url))
    own.ask(own.item(("group:a", "group")))

    await screen.open("workers/0/#/trouble")
    await screen.sees(".trouble", "Nothing is stuck")
    await screen.press("1")
    await screen.has_rows(1)

    assert any("/incidents" in url for url in asked)
    assert [url for url in asked if not url.startswith(f"{own.address}/workers/0/")] == []


async def test_a_viewer_too_many_is_told_so(own: Board, screen: Screen) -> None:
    own.broadcast._most = 0
    screen.expected += ["503"]

    await screen.page.goto(screen.address)

    await screen.sees(".stream", "No stream: 503 Too many viewers")
