"""The `bellhop` command."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version

import click

# A command's module is imported when the command is used: `send` must not wait for a database library to load.
_COMMANDS = {
    "app": "bellhop_cli.application",
    "cancel": "bellhop_cli.cancel",
    "demo": "bellhop_cli.demo",
    "device": "bellhop_cli.device",
    "gateway": "bellhop_cli.gateway",
    "migrate": "bellhop_cli.migrate",
    "rotate-master-key": "bellhop_cli.rotate_master_key",
    "send": "bellhop_cli.send",
    "serve": "bellhop_cli.serve",
    "simulate": "bellhop_cli.simulate",
    "watch": "bellhop_cli.watch",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = import_module(_COMMANDS[cmd_name]).command
        return command


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("bellhop-push"), prog_name="bellhop", message="%(prog)s %(version)s")
def _bellhop() -> None:
    """Push notifications to people, not devices.

    Commands that talk to a server take its address from BELLHOP_SERVER (default 127.0.0.1:50051) and their credentials
    from BELLHOP_APP_ID, BELLHOP_APP_SECRET and BELLHOP_ADMIN_TOKEN, or from the file bellhop.admin-token in the working
    directory. Secrets are never options: a command line can be read by everybody on the machine.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0 done, 1 not wholly, 2 refused or wrong, 130 interrupted."""
    try:
        code = _bellhop.main(arguments, prog_name="bellhop", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as shown:
        click.echo(shown.format_message(), err=True)
        return 2
    except click.UsageError as error:
        hint = f" (see {error.ctx.command_path} --help)" if error.ctx else ""
        return _fail(error.format_message() + hint)
    except click.ClickException as error:
        return _fail(error.format_message())
    except UnicodeError as error:
        return _fail(f"Arguments and files must be UTF-8 ({error}).")
    except click.Abort:
        return 130
    except BrokenPipeError:
        # Whoever read our output has seen enough; without this Python complains once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code if isinstance(code, int) else 0


def _fail(message: str) -> int:
    click.echo(f"bellhop: {' '.join(message.split())}", err=True)
    return 2


if __name__ == "__main__":
    sys.exit(main())
