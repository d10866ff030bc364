"""`bellhop serve`: the server."""

import os
from pathlib import Path

import click

from bellhop_cli.settings import config_option, load_settings


@click.command("serve")
@config_option
def command(config: Path | None) -> None:
    """Serve gRPC until SIGTERM or Ctrl-C. Works without any setting, on this machine alone."""
    # gRPC reads it while it loads. A stranger's failed handshake must not put lines into the log that are not JSON.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from bellhop_server.main import ServerFailed, run
    from bellhop_server.outfit import StartRefused

    settings = load_settings(config)
    try:
        run(settings)
    except (StartRefused, ServerFailed) as error:
        raise click.ClickException(str(error)) from error
