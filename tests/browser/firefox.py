"""A Firefox without a screen, with a profile of its own, that talks to nobody but this machine."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.browser.marionette import Marionette

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")

# The text and the title of each notification that is on the screen.
_SHOWN = """
const shown = [];
for (const each of Services.wm.getEnumerator("alert:alert")) {
  const [title, text] = ["alertTitleLabel", "alertTextLabel"].map((id) => each.document.getElementById(id));
  if (title && text) {
    shown.push([title, text].map((label) => label.textContent || label.getAttribute("value") || ""));
  }
}
return shown;
"""
_CLICK = """
for (const each of Services.wm.getEnumerator("alert:alert")) {
  const title = each.document.getElementById("alertTitleLabel");
  if ((title?.textContent || title?.getAttribute("value")) === arguments[0]) {
    each.document.getElementById("alertBox").click();
    return true;
  }
}
return false;
"""
_TABS = "return gBrowser.browsers.map((each) => each.currentURI.spec);"


class Firefox:
    """One run of the browser."""

    def __init__(self, session: Marionette) -> None:
        self.session = session

    async def shown(self) -> list[list[str]]:
        """Title and text of each notification on the screen."""
        shown: list[list[str]] = await self.session.run_as_browser(_SHOWN)
        return shown

    async def shows(self, title: str, text: str = "") -> None:
        """Returns when this is on the screen."""
        await until(lambda: self.shown(), lambda shown: [title, text] in shown)

    async def click(self, title: str) -> None:
        """Clicks on a notification that is on the screen."""
        assert await self.session.run_as_browser(_CLICK, title)

    async def tabs(self) -> list[str]:
        """What is open."""
        tabs: list[str] = await self.session.run_as_browser(
            f"const gBrowser = Services.wm.getMostRecentWindow('navigator:browser').gBrowser; {_TABS}"
        )
        return tabs


async def until(look: Any, enough: Any) -> Any:
    """What `look` finds, once it is enough."""
    found = None
    try:
        async with asyncio.timeout(40):
            while not enough(found := await look()):  # noqa: ASYNC110 - a browser tells nobody when it is done
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"it never came: {found}") from None
    return found


def write_preferences(profile: Path, push_service: str) -> None:
    """A profile for which that is the push service, and in which every page may show notifications."""
    preferences = {
        "dom.push.serverURL": push_service,
        "dom.push.testing.allowInsecureServerURL": True,
        "dom.push.retryBaseInterval": 100,
        "dom.push.pingInterval": 60_000,
        "permissions.default.desktop-notification": 1,
        "alerts.useSystemBackend": False,
        "marionette.port": 0,
        # What is recommended for tests switches push off.
        "remote.prefs.recommended": False,
        "browser.shell.checkDefaultBrowser": False,
        "browser.startup.homepage_override.mstone": "ignore",
        "browser.aboutwelcome.enabled": False,
        "browser.newtabpage.enabled": False,
        "browser.safebrowsing.update.enabled": False,
        "app.update.enabled": False,
        "app.normandy.enabled": False,
        "datareporting.policy.dataSubmissionEnabled": False,
        "toolkit.telemetry.enabled": False,
        "toolkit.telemetry.server": "",
        "network.captive-portal-service.enabled": False,
        "network.connectivity-service.enabled": False,
        "services.settings.server": "http://127.0.0.1:9/",
        "extensions.update.enabled": False,
        "extensions.systemAddon.update.enabled": False,
    }
    profile.mkdir(exist_ok=True)
    written = (f"user_pref({_js(name)}, {_js(value)});\n" for name, value in preferences.items())
    (profile / "user.js").write_text("".join(written))


@asynccontextmanager
async def firefox(profile: Path) -> AsyncIterator[Firefox]:
    """The browser with that profile, until the context ends. A profile remembers what a browser remembers."""
    assert FIREFOX is not None
    port_file = profile / "MarionetteActivePort"
    port_file.unlink(missing_ok=True)
    process = await asyncio.create_subprocess_exec(
        *(FIREFOX, "--headless", "--no-remote", "--marionette", "--remote-allow-system-access"),
        *("--profile", str(profile), "about:blank"),
        env={"HOME": str(profile), "PATH": "/usr/bin:/bin", "MOZ_HEADLESS": "1", "MOZ_CRASHREPORTER_DISABLE": "1"},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    session = None
    try:

        async def port() -> str:
            return port_file.read_text() if port_file.exists() else ""

        session = await Marionette.connect(int(await until(port, bool)))
        yield Firefox(session)
        # Not killed: what a page has stored is to be on the disk.
        await session.ask("Marionette:Quit", flags=["eForceQuit"])
        async with asyncio.timeout(30):
            await process.wait()
    finally:
        if session is not None:
            await session.aclose()
        if process.returncode is None:
            process.kill()
            await process.wait()


def _js(value: str | bool | int) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else f'"{value}"'
