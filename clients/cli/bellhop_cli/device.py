"""`bellhop device`: which device is whose."""

import json
from typing import TextIO

import click
from google.protobuf.duration_pb2 import Duration

from bellhop.v1.device_pb2 import ApnsEnvironment, ApnsTarget, DeviceState, FcmTarget, Platform, WebPushTarget
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
@click.option("--apns-token", help="An Apple device: its token, hexadecimal.")
@click.option("--topic", default="", help="Bundle id. Default: the first one of the credential.")
@click.option("--environment", type=click.Choice(["sandbox", "production"]), help="Default: as the credential says.")
@click.option("--fcm", "fcm_token", help="A device that Firebase reaches: its registration token.")
@click.option("--fid", help="The same: its installation id.")
@click.option(
    "--web-push",
    "subscription",
    type=click.File("r", encoding="utf-8"),
    help="A browser: its PushSubscription as JSON; - for standard input.",
)
@click.option("--vapid-public-key", default="", help="That it subscribed with. Default: the credential's current one.")
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
    fcm_token: str | None,
    fid: str | None,
    subscription: TextIO | None,
    vapid_public_key: str,
    session_id: str,
    binding_ttl: Duration | None,
    generation: int | None,
    as_json: bool,
) -> None:
    """Bind a device to a user. Without DEVICE the server makes an id.

    A new device needs one of --apns-token, --fcm, --fid and --web-push.
    """
    if sum(each is not None for each in (apns_token, fcm_token, fid, subscription)) > 1:
        raise click.UsageError("Choose one: --apns-token, --fcm, --fid or --web-push.")
    if apns_token is None and (topic or environment):
        raise click.UsageError("--topic and --environment go with --apns-token.")
    if subscription is None and vapid_public_key:
        raise click.UsageError("--vapid-public-key goes with --web-push.")
    world = ApnsEnvironment.Value(f"APNS_ENVIRONMENT_{(environment or 'unspecified').upper()}")
    fcm = FcmTarget(token=fcm_token) if fcm_token is not None else FcmTarget(fid=fid) if fid is not None else None
    web_push = None if subscription is None else _web_push(subscription.read(), vapid_public_key)

    async def work() -> None:
        async with server.client() as client:
            made = await client.register_device(
                user_id=user_id,
                device_id=device_id,
                apns=None if apns_token is None else ApnsTarget(token=apns_token, topic=topic, environment=world),
                fcm=fcm,
                web_push=web_push,
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


def _web_push(text: str, vapid_public_key: str) -> WebPushTarget:
    """What `PushSubscription.toJSON()` has."""
    try:
        body = json.loads(text)
        endpoint, keys = body["endpoint"], body["keys"]
        return WebPushTarget(
            endpoint=endpoint, p256dh=keys["p256dh"], auth=keys["auth"], vapid_public_key=vapid_public_key
        )
    except (ValueError, KeyError, TypeError):
        # Their own texts may quote the keys.
        raise click.ClickException("--web-push is not a PushSubscription as JSON.") from None


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
