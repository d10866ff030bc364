"""`bellhop gateway`: HTTP and JSON before a server."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bellhop_cli.settings import config_option

if TYPE_CHECKING:  # Its packages may not be installed.
    from bellhop_gateway.settings import GatewaySettings


@click.command("gateway")
@config_option
def command(config: Path | None) -> None:
    """Translate HTTP and JSON for the server at BELLHOP_SERVER until SIGTERM or Ctrl-C; say where in one JSON line."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    settings = load(config)
    from bellhop_gateway.serving import ListenError

    try:
        asyncio.run(_serve(settings))
    except (ListenError, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error


def load(config: Path | None) -> "GatewaySettings":
    """The gateway's settings. Raises ClickException, also when its packages are not installed."""
    try:
        import starlette  # noqa: F401 - is it there?
        import uvicorn  # noqa: F401 - is it there?
    except ImportError:
        raise click.ClickException("The gateway is not installed: pip install 'bellhop-push[gateway]'.") from None
    from bellhop_gateway.settings import GatewaySettingsError, load_gateway_settings

    try:
        return load_gateway_settings(os.environ, config)
    except GatewaySettingsError as error:
        raise click.ClickException(str(error)) from error


@asynccontextmanager
async def gateway_beside(settings: "GatewaySettings", socket: Path) -> AsyncIterator[None]:
    """The gateway of a server in this process, which it calls by that socket."""
    from bellhop_gateway.serving import running_gateway

    async with running_gateway(replace(settings, server=f"unix:{socket}", server_ca=None)) as url:
        _say(url)
        yield


async def _serve(settings: "GatewaySettings") -> None:
    from bellhop_gateway.serving import running_gateway

    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with running_gateway(settings) as url:
        _say(url)
        await stopped.wait()


def _say(url: str) -> None:
    click.echo(json.dumps({"gateway_url": url}))
