"""`bellhop simulate`: push providers on this machine."""

from pathlib import Path

import click

_file = click.Path(dir_okay=False, path_type=Path)


@click.command("simulate")
@click.option("--journal", type=_file, help="Append a JSON line for each request that they see.")
@click.option("--faults", type=_file, help="Play this script.")
def command(journal: Path | None, faults: Path | None) -> None:
    """Simulate APNs, FCM and Web Push until SIGTERM or Ctrl-C; say where it is in one JSON line."""
    from bellhop_simulators import FaultScriptError, SimulationOptions, simulate

    try:
        simulate(SimulationOptions(journal=journal, faults=faults))
    except (FaultScriptError, OSError) as error:
        raise click.ClickException(str(error)) from error
