"""Options and environment of the commands that talk to a server."""

import asyncio
import functools
import os
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from bellhop_cli.output import printable
from bellhop_client import AdminClient, BellhopError, Client

ADMIN_TOKEN_FILE = Path("bellhop.admin-token")

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Server:
    """Which server, and how to trust it."""

    address: str
    tls: bool
    ca: Path | None

    @property
    def _trust(self) -> dict[str, Any]:
        return {"tls": True if self.tls else None, "root_certificates": self.ca.read_bytes() if self.ca else None}

    def client(self) -> Client:
        """For one application, by its app secret. Raises ClickException when something is missing or malformed."""
        app_id, app_secret = _required("BELLHOP_APP_ID"), _required("BELLHOP_APP_SECRET")
        return _made(lambda: Client(self.address, app_id=app_id, app_secret=app_secret, **self._trust))

    def admin_client(self) -> AdminClient:
        """For all applications. Raises ClickException when the token is missing or something is malformed."""
        token = os.environ.get("BELLHOP_ADMIN_TOKEN") or _token_of_this_folder()
        return _made(lambda: AdminClient(self.address, admin_token=token, **self._trust))


def server_options(function: Callable[..., _T]) -> Callable[..., _T]:
    """Adds --server, --tls and --ca; the function gets a Server for them."""

    @click.option(
        "--server",
        "address",
        metavar="ADDRESS",
        envvar="BELLHOP_SERVER",
        default="127.0.0.1:50051",
        show_default=True,
        show_envvar=True,
        help="host:port, http://host:port or https://host:port; host:port beyond this machine means TLS.",
    )
    @click.option("--tls", is_flag=True, help="Use TLS on this machine too.")
    @click.option(
        "--ca", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="PEM of the authority to trust; TLS."
    )
    @functools.wraps(function)
    def with_server(*, address: str, tls: bool, ca: Path | None, **options: Any) -> _T:
        return function(server=Server(address, tls, ca), **options)

    return with_server


def run(work: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
    """Runs it to its end. Raises ClickException with one line for whatever the server or the client refused."""
    try:
        return asyncio.run(work())
    except BellhopError as error:
        raise click.ClickException(printable(str(error))) from error


def _required(variable: str) -> str:
    value = os.environ.get(variable, "")
    if not value:
        raise click.ClickException(f"{variable} is not set.")
    return value


def _token_of_this_folder() -> str:
    try:
        return ADMIN_TOKEN_FILE.read_text("utf-8").strip()
    except OSError as error:
        raise click.ClickException(
            f"BELLHOP_ADMIN_TOKEN is not set, and {ADMIN_TOKEN_FILE} cannot be read here: {error.strerror}."
        ) from error


def _made(make: Callable[[], _T]) -> _T:
    try:
        return make()
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error
