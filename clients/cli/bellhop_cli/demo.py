"""`bellhop demo`: one person's phones, end to end, on this machine."""

import asyncio
import signal
import sys
import tempfile
from pathlib import Path

import click
from rich.console import Console

from bellhop_cli.demo_processes import DemoFailed, stage
from bellhop_cli.demo_story import APP_ID, Played, Story
from bellhop_cli.output import console, printable
from bellhop_client import BellhopError

_SECONDS = 120.0
_LOG_LINES = 20

# Stands for what a server that is gone by then had made.
_BLANKS = Played("CLIENT_SECRET", "APP_SECRET", "MESSAGE_ID", "CURSOR")


@click.command("demo")
@click.option("--stay", is_flag=True, help="Keep server and simulator up until Ctrl-C.")
def command(stay: bool) -> int:
    """Play one person's phones and browsers end to end, and check each step.

    Starts simulated push providers and a real server on free ports, in a folder that is deleted at the end. Exit code:
    0 when everything happened as told, 1 when something did not.
    """
    with tempfile.TemporaryDirectory(prefix="bellhop-demo-") as folder:
        try:
            asyncio.run(_demo(Path(folder), console(), stay))
        except (DemoFailed, BellhopError, TimeoutError) as error:
            click.echo(f"bellhop: the demo failed: {printable(str(error)) or 'it took too long'}", err=True)
            log = Path(folder) / "serve.log"
            lines = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
            click.echo("\n".join(["The end of the server's log:", *lines[-_LOG_LINES:]]), err=True)
            return 1
        except asyncio.CancelledError:
            raise click.Abort from None
    return 0


async def _demo(folder: Path, out: Console, stay: bool) -> None:
    task = asyncio.current_task()
    assert task
    # As Ctrl-C does already: both processes are ended before this one.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with stage(folder) as ready:
        out.print("Simulated push providers and a Bellhop server, on this machine:\n")
        out.print(f"   APNs       {ready.simulation['apns_url']} (HTTP/2 over TLS)")
        out.print(f"   FCM        {ready.simulation['fcm_url']} (HTTP/2 over TLS)")
        out.print(f"   Web Push   {ready.simulation['web_push_url']} (HTTP/2 over TLS)")
        out.print(f"   Bellhop    {ready.address} (gRPC)")
        async with asyncio.timeout(_SECONDS):
            played = await Story(ready, out).play()
        out.print("\nEverything happened as told.", style="bold green")
        if stay:
            # Before anything is shown: whoever has read the last line may interrupt at once.
            stopped = _on_interrupt()
            out.print("\nTry next, until Ctrl-C:\n", style="bold")
            _print_next_steps(out, ready.address, played)
            await stopped.wait()
        else:
            out.print("\nTry next, with a server that stays up:\n", style="bold")
            out.print("   bellhop demo --stay, or in a checkout make demo STAY=1, prints these with its own values.\n")
            _print_next_steps(out, "ADDRESS", _BLANKS)


def _print_next_steps(out: Console, address: str, played: Played) -> None:
    app = f"-H 'app-id: {APP_ID}'"
    app_secret = f"{app} -H 'app-secret: {played.app_secret}'"
    client_secret = f"{app} -H 'client-secret: {played.client_secret}'"
    send = '{"audience":{"users":{"user_ids":["anna"]}},"notification":{"title":"Hello"}}'
    register = f'{{"device_id":"new-phone","user_id":"anna","apns":{{"token":"{"ab" * 32}"}}}}'
    watch = f'{{"message_id":"{played.message_id}","after_cursor":"{played.cursor}"}}'
    # `make demo` runs a bellhop that is not on the path.
    bellhop = sys.argv[0] if Path(sys.argv[0]).name == "bellhop" else "bellhop"
    lines = (
        f"grpcurl -plaintext {address} list",
        f"grpcurl -plaintext {address} describe bellhop.v1.Notifier.Send",
        f"grpcurl -plaintext {client_secret} -d '{register}' {address} bellhop.v1.PushRegistry/RegisterDevice",
        f"grpcurl -plaintext {app_secret} -d '{send}' {address} bellhop.v1.Notifier/Send",
        f"grpcurl -plaintext {app_secret} -d '{watch}' {address} bellhop.v1.Notifier/WatchMessage",
        f"grpcurl -plaintext {app_secret} {address} bellhop.v1.PushRegistry/ListDevices",
        "",
        f"export BELLHOP_SERVER={address} BELLHOP_APP_ID={APP_ID} BELLHOP_APP_SECRET={played.app_secret}",
        f"{bellhop} send --user anna --title 'Hello from the shell'",
    )
    for line in lines:
        # As it is, on one line: it is to be copied.
        out.print(f"   {line}" if line else "", soft_wrap=True)


def _on_interrupt() -> asyncio.Event:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    return stopped
