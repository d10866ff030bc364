"""Settings of the commands that run a part of the server."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from bellhop_server.settings import Settings, SettingsError, load

_Command = TypeVar("_Command", bound=Callable[..., Any])


def config_option(function: _Command) -> _Command:
    """Adds --config."""
    path = click.Path(exists=True, dir_okay=False, path_type=Path)
    return click.option("--config", type=path, help="TOML file of settings; BELLHOP_* variables win over it.")(function)


def load_settings(config: Path | None) -> Settings:
    """From the file and the environment; warns of what is not known. Raises ClickException."""
    try:
        loaded = load(os.environ, config)
    except SettingsError as error:
        raise click.ClickException(str(error)) from error
    for warning in loaded.warnings:
        click.echo(f"bellhop: warning: {warning}", err=True)
    return loaded.settings
