"""`bellhop migrate`: the database in the form that this version knows."""

import asyncio
from pathlib import Path

import click

from bellhop_cli.settings import config_option, load_settings


@click.command("migrate")
@config_option
def command(config: Path | None) -> None:
    """Apply the migrations that the database lacks, all in one transaction."""
    from bellhop_server.domain.errors import ServiceUnavailable
    from bellhop_server.store.failures import DatabaseRefused
    from bellhop_server.store.migrate import upgrade

    settings = load_settings(config)
    try:
        asyncio.run(upgrade(settings.database_url))
    except (DatabaseRefused, ServiceUnavailable) as error:
        raise click.ClickException(str(error)) from error
    click.echo("The database is up to date.")
