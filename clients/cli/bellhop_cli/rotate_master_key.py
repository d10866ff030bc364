"""`bellhop rotate-master-key`: another key over the provider credentials."""

import asyncio
from pathlib import Path

import click

from bellhop_cli.settings import config_option, load_settings


@click.command("rotate-master-key")
@config_option
def command(config: Path | None) -> None:
    """Seal all provider credentials under a new master key.

    Beside an embedded database a new key is made and put into bellhop.key; the server must not be running. With
    BELLHOP_MASTER_KEY the new key stands first in it and the former one behind a comma, and servers that know both may
    go on. What was interrupted is finished by another run.
    """
    from bellhop_server.domain.errors import ServiceUnavailable
    from bellhop_server.outfit import MASTER_KEY_FILE
    from bellhop_server.store.database import sqlite_path
    from bellhop_server.store.failures import DatabaseRefused
    from bellhop_server.store.rotation import reseal
    from bellhop_server.store.seal import KeyRefused, MasterKey, add_key, drop_former_keys

    settings = load_settings(config)
    try:
        database = sqlite_path(settings.database_url)
        if settings.master_key:
            key = MasterKey.parse(settings.master_key)
            if not key.rotating:
                raise click.ClickException(
                    "BELLHOP_MASTER_KEY must hold the new key and, behind a comma, the former one."
                )
            count = asyncio.run(reseal(settings.database_url, key))
        elif database is None:
            raise click.ClickException("PostgreSQL needs BELLHOP_MASTER_KEY: the new key, a comma, the former one.")
        else:
            file = database.with_name(MASTER_KEY_FILE)
            if not file.exists():
                raise click.ClickException(f"There is no {file}.")
            add_key(file)
            count = asyncio.run(reseal(settings.database_url, MasterKey.load_or_create(file)))
            drop_former_keys(file)
    except (KeyRefused, DatabaseRefused, ServiceUnavailable) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{count} credentials were sealed anew. The former key opens nothing any more.")
