"""The web client in a real Firefox: it shows what comes for whoever is logged in, and nothing of anybody else's."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.browser.firefox import FIREFOX, Firefox, firefox, until
from tests.browser.push_service import READ
from tests.browser.town import Town, open_town

pytestmark = [
    pytest.mark.skipif(FIREFOX is None, reason="no Firefox is installed"),
    pytest.mark.promise("P4"),
]
NEUTRAL = ["The shop has news", ""]


@pytest.fixture
async def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Town]:
    async with open_town(tmp_path, monkeypatch) as town:
        yield town


async def visit(browser: Firefox, town: Town) -> None:
    """Opens the shop, and waits for the service worker."""
    await browser.session.go_to(f"{town.site}?gateway={town.gateway}")
    await browser.session.run(
        "while (!window.ready) await new Promise((go) => setTimeout(go, 20)); await window.ready;"
    )


async def log_in(browser: Firefox, user: str) -> None:
    assert await browser.session.run("return await window.logIn(arguments[0]);", user) == user


async def all_read(town: Town, count: int) -> None:
    """Returns when the service worker has had so many pushes."""

    async def read() -> list[int]:
        return town.push.acknowledged

    assert await until(read, lambda codes: len(codes) >= count) == [READ] * count


async def test_a_person_gets_theirs_and_their_click_is_told(town: Town) -> None:
    async with firefox(town.profile) as browser:
        await visit(browser, town)
        await log_in(browser, "ann")
        ((device_id, user_id),) = await town.devices()
        assert (user_id, device_id) == ("ann", await browser.session.run("return (await bellhop.status()).deviceId;"))

        message_id = await town.send("ann", "Dinner is ready", "Grüße aus der Küche 🍲", link=f"{town.site}order.html")
        await browser.shows("Dinner is ready", "Grüße aus der Küche 🍲")
        await browser.click("Dinner is ready")

        await until(browser.tabs, lambda tabs: f"{town.site}order.html" in tabs)
        told = await until(lambda: town.interactions(message_id), lambda told: "OPENED" in told)
        assert told == {"SEEN": 1, "OPENED": 1}


async def test_a_click_opens_the_page_that_is_there(town: Town) -> None:
    async with firefox(town.profile) as browser:
        await visit(browser, town)
        await log_in(browser, "ann")
        await town.send("ann", "Look here")
        await browser.shows("Look here")
        await browser.click("Look here")
        await until(lambda: browser.session.run("return window.opened;"), lambda opened: opened == ["Look here"])


async def test_what_was_parked_for_the_person_before_is_not_shown(town: Town) -> None:
    async with firefox(town.profile) as browser:
        await visit(browser, town)
        await log_in(browser, "ann")
        await town.send("ann", "Shown while she is here")
        await browser.shows("Shown while she is here")

        town.push.parked = True
        await town.send("ann", "Your test result")
        assert await browser.session.run("return await bellhop.logOut();") is True
        assert await browser.shown() == []
        assert await town.devices() == []
        town.push.unpark()
        await browser.shows(*NEUTRAL)
        assert await browser.shown() == [NEUTRAL]

        await log_in(browser, "bob")
        town.push.parked = True
        await town.send("bob", "For bob")
        town.push.unpark()
        await browser.shows("For bob")
        await all_read(town, 3)


async def test_an_offline_logout_holds_after_a_restart_and_for_the_next_person(town: Town) -> None:
    async with firefox(town.profile) as browser:
        await visit(browser, town)
        await log_in(browser, "ann")
        town.push.parked = True
        await town.send("ann", "Your test result")
        await town.gateway_down()
        assert await browser.session.run("return await bellhop.logOut();") is False

    async with firefox(town.profile) as browser:
        town.push.unpark()
        await browser.shows(*NEUTRAL)
        assert await browser.shown() == [NEUTRAL]
        # She is still bound: nobody could be told. This one is sent after her logout.
        town.push.parked = True
        await town.send("ann", "Your other test result")

        await town.gateway_up()
        await visit(browser, town)
        await log_in(browser, "bob")
        assert [user for _, user in await town.devices()] == ["bob"]
        town.push.unpark()
        await all_read(town, 2)
        assert await browser.shown() == [NEUTRAL]
        await town.send("bob", "For bob")
        await browser.shows("For bob")


async def test_a_subscription_that_the_push_service_has_lost_is_asked_for_anew(town: Town) -> None:
    async with firefox(town.profile) as browser:
        await visit(browser, town)
        await log_in(browser, "ann")
        before = await town.target_of("ann")
        await town.push.forget()
        await until(lambda: town.target_of("ann"), lambda after: after != before)
        await town.send("ann", "Found again")
        await browser.shows("Found again")
