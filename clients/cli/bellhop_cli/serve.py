"""`bellhop serve`: the server."""

import os
from functools import partial
from pathlib import Path

import click

from bellhop_cli.gateway import gateway_beside, load
from bellhop_cli.settings import config_option, load_settings


@click.command("serve")
@config_option
@click.option("--gateway", is_flag=True, help="Serve HTTP and JSON too, in this process.")
def command(config: Path | None, gateway: bool) -> None:
    """Serve gRPC until SIGTERM or Ctrl-C. Works without any setting, on this machine alone."""
    # gRPC reads it while it loads. A stranger's failed handshake must not put lines into the log that are not JSON.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from bellhop_server.main import ServerFailed, run
    from bellhop_server.outfit import StartRefused

    settings = load_settings(config)
    beside = partial(gateway_beside, load(config)) if gateway else None
    failures: tuple[type[Exception], ...] = (StartRefused, ServerFailed)
    if gateway:
        from bellhop_gateway.serving import ListenError

        failures = (*failures, ListenError)
    try:
        run(settings, beside)
    except failures as error:
        raise click.ClickException(str(error)) from error
