"""`bellhop device`: which device is whose."""

import click

from bellhop.v1.device_pb2 import DeviceState, Platform
from bellhop_cli.connection import Server, run, server_options
from bellhop_cli.output import console, json_line, label, moment, table

_STATES = ("active", "dead", "unverified")


@click.group("device")
def command() -> None:
    """Devices of an application."""


@command.command("list")
@click.option("--user", "user_id", default="", help="Only those bound to this user.")
@click.option("--anonymous/--bound", default=None, help="Only those without a user, or with one.")
@click.option("--state", "states", type=click.Choice(_STATES), multiple=True, help="Default: active.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@server_options
def list_(server: Server, user_id: str, anonymous: bool | None, states: tuple[str, ...], as_json: bool) -> None:
    """List devices."""

    async def work() -> None:
        rows = []
        async with server.client() as client:
            wanted = [DeviceState.Value(f"DEVICE_STATE_{each.upper()}") for each in states]
            async for device in client.devices(user_id=user_id, anonymous=anonymous, states=wanted):
                if as_json:
                    json_line(device)
                    continue
                rows.append(
                    (
                        device.device_id,
                        device.user_id or "-",
                        label(Platform.Name, device.platform, "PLATFORM_"),
                        label(DeviceState.Name, device.state, "DEVICE_STATE_"),
                        device.target_fingerprint,
                        moment(device.bind_time if device.user_id else device.register_time),
                    )
                )
        if not as_json:
            console().print(table(("DEVICE", "USER", "PLATFORM", "STATE", "TARGET", "SINCE"), rows))

    run(work)
