"""Drives a Firefox by its own remote protocol: what it speaks when it is started with `--marionette`.

The protocol: https://firefox-source-docs.mozilla.org/testing/marionette/Protocol.html
"""

import asyncio
import json
from typing import Any, Self


class ScriptFailed(Exception):
    """What the browser was asked to do has failed; the text is the browser's."""


class Marionette:
    """One session with one browser."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._asked = 0

    @classmethod
    async def connect(cls, port: int) -> Self:
        """Opens the session."""
        session = cls(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 22))
        assert (await session._read())["marionetteProtocol"] == 3
        await session.ask("WebDriver:NewSession")
        await session.ask("WebDriver:SetTimeouts", script=60_000)
        return session

    async def ask(self, command: str, **parameters: Any) -> Any:
        """Carries out a command. Raises ScriptFailed."""
        self._asked += 1
        text = json.dumps([0, self._asked, command, parameters])
        self._writer.write(f"{len(text.encode())}:{text}".encode())
        await self._writer.drain()
        _, number, error, result = await self._read()
        assert number == self._asked
        if error is not None:
            raise ScriptFailed(error["message"])
        return result

    async def go_to(self, url: str) -> None:
        """Opens a page, and returns when it is loaded."""
        await self.ask("WebDriver:Navigate", url=url)

    async def run(self, body: str, *args: Any) -> Any:
        """Runs the body of an async function within the page; what it returns."""
        script = f"return (async function () {{ {body} }}).apply(null, arguments);"
        return (await self.ask("WebDriver:ExecuteScript", script=script, args=args, sandbox=None))["value"]

    async def run_as_browser(self, body: str, *args: Any) -> Any:
        """Runs it as the browser itself does."""
        await self.ask("Marionette:SetContext", value="chrome")
        try:
            return (await self.ask("WebDriver:ExecuteScript", script=body, args=args, sandbox="system"))["value"]
        finally:
            await self.ask("Marionette:SetContext", value="content")

    async def aclose(self) -> None:
        """Ends the connection; the browser goes on."""
        self._writer.close()

    async def _read(self) -> Any:
        async with asyncio.timeout(90):
            length = await self._reader.readuntil(b":")
            return json.loads(await self._reader.readexactly(int(length[:-1])))
