"""`bellhop device`: which device is whose."""

import click
from google.protobuf.duration_pb2 import Duration

from bellhop.v1.device_pb2 import ApnsEnvironment, ApnsTarget, DeviceState, Platform
from bellhop_cli.connection import Server, run, server_options
from bellhop_cli.output import DurationType, console, json_line, label, moment, printable, table

_STATES = ("active", "dead", "unverified")


_as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object.")
_generation = click.option(
    "--generation", type=int, help="The client's count of its logins and logouts; a lower one than before is refused."
)


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
                        moment(device.binding_expire_time) or "-",
                    )
                )
        if not as_json:
            console().print(table(("DEVICE", "USER", "PLATFORM", "STATE", "TARGET", "SINCE", "UNTIL"), rows))

    run(work)


@command.command("register")
@click.argument("device_id", metavar="[DEVICE]", default="")
@click.option("--user", "user_id", required=True, help="Whom to bind it to.")
@click.option("--apns-token", help="Its token, hexadecimal. Needed for a new device.")
@click.option("--topic", default="", help="Bundle id. Default: the first one of the credential.")
@click.option("--environment", type=click.Choice(["sandbox", "production"]), help="Default: as the credential says.")
@click.option("--session", "session_id", default="", help="A name for this login, to end it by.")
@click.option(
    "--binding-ttl", type=DurationType(), help="When the binding ends by itself. Default: as the policy says."
)
@_generation
@_as_json
@server_options
def register(
    server: Server,
    device_id: str,
    user_id: str,
    apns_token: str | None,
    topic: str,
    environment: str | None,
    session_id: str,
    binding_ttl: Duration | None,
    generation: int | None,
    as_json: bool,
) -> None:
    """Bind a device to a user. Without DEVICE the server makes an id."""
    if apns_token is None and (topic or environment):
        raise click.UsageError("--topic and --environment go with --apns-token.")
    world = ApnsEnvironment.Value(f"APNS_ENVIRONMENT_{(environment or 'unspecified').upper()}")

    async def work() -> None:
        async with server.client() as client:
            made = await client.register_device(
                user_id=user_id,
                device_id=device_id,
                apns=None if apns_token is None else ApnsTarget(token=apns_token, topic=topic, environment=world),
                session_id=session_id,
                binding_ttl=binding_ttl,
                binding_generation=generation,
            )
        if as_json:
            json_line(made)
            return
        end = moment(made.device.binding_expire_time)
        until = f" until {end}" if end else ""
        click.echo(f"Registered {printable(made.device.device_id)} for {printable(made.device.user_id)}{until}.")
        click.echo(f"Its secret: {made.device_secret}")

    run(work)


@command.command("unregister")
@click.argument("device_id", metavar="DEVICE")
@click.option("--expected-user", "user_id", default="", help="Only if it is bound to this user.")
@_generation
@_as_json
@server_options
def unregister(server: Server, device_id: str, user_id: str, generation: int | None, as_json: bool) -> None:
    """Take a device out."""

    async def work() -> None:
        async with server.client() as client:
            done = await client.unregister_device(
                device_id=device_id, expected_user_id=user_id, binding_generation=generation
            )
        if as_json:
            json_line(done)
        else:
            click.echo("Taken out." if done.existed else "There was nothing to take out.")

    run(work)


@command.command("unregister-user")
@click.argument("user_id", metavar="USER")
@click.option("--session", "session_id", default="", help="Only the devices of this login.")
@_as_json
@server_options
def unregister_user(server: Server, user_id: str, session_id: str, as_json: bool) -> None:
    """Take out every device of a user."""

    async def work() -> None:
        async with server.client() as client:
            done = await client.unregister_user(user_id=user_id, session_id=session_id)
        if as_json:
            json_line(done)
        else:
            click.echo(f"Taken out: {done.device_count}.")

    run(work)
