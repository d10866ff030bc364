"""`bellhop send`: one message, and what becomes of it."""

import time
from collections.abc import Sequence
from typing import Any, TextIO

import click
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import Parse, ParseError
from google.protobuf.timestamp_pb2 import Timestamp

from bellhop.v1.device_pb2 import Platform
from bellhop.v1.event_pb2 import ResultFilter
from bellhop.v1.message_pb2 import Priority
from bellhop.v1.notifier_pb2 import SendRequest
from bellhop_cli.connection import Server, run, server_options
from bellhop_cli.explain import explain
from bellhop_cli.output import DurationType, TimeType
from bellhop_cli.report import follow

_PLATFORMS = click.Choice(["apns", "fcm", "web-push"])


@click.command("send")
@click.option("--user", "users", multiple=True, help="A person to ring; may be repeated.")
@click.option("--users-file", type=click.File("r", encoding="utf-8"), help="One user id a line; - for standard input.")
@click.option("--device", "devices", multiple=True, help="A device id; may be repeated.")
@click.option("--tag", "tags", multiple=True, help="Whoever has this tag; may be repeated.")
@click.option("--everyone", is_flag=True, help="Every device of the application.")
@click.option("--exclude-user", "excluded", multiple=True, help="Not this person; may be repeated.")
@click.option("--platform", "platforms", type=_PLATFORMS, multiple=True, help="Only this network.")
@click.option("--title", help="Headline.")
@click.option("--body", help="Main text.")
@click.option("--data", multiple=True, metavar="KEY=VALUE", help="A value for the app; may be repeated.")
@click.option("--collapse-key", help="A later message with the same key replaces this one.")
@click.option("--ttl", type=DurationType(), help="How long it may wait: 90s, 15m, 24h, 7d. Default: 24h.")
@click.option("--at", type=TimeType(), help="When to send: 2026-12-01T08:00:00Z. Default: now.")
@click.option("--in", "wait", type=DurationType(), help="How long from now to send: 10m, 24h, 7d.")
@click.option("--priority", type=click.Choice(["low", "normal", "high"]), help="Default: normal.")
@click.option("--request-id", help="Your key for this send: repeating it is never a second push.")
@click.option("--json-file", type=click.File("r", encoding="utf-8"), help="A SendRequest to start from; - for stdin.")
@click.option("--filter", "result_filter", type=click.Choice(["all", "failures", "none"]), help="Results to show.")
@click.option("--accept-only", is_flag=True, help="Do not wait for results.")
@click.option("--validate-only", is_flag=True, help="Check everything, send nothing.")
@click.option("--explain", "explained", is_flag=True, help="Show what each provider would be asked; send nothing.")
@click.option("--max-devices", type=int, help="How many --explain shows, up to 1000. Default: 20.")
@click.option("--json", "as_json", is_flag=True, help="Every event as a JSON object on a line.")
@server_options
def command(server: Server, as_json: bool, explained: bool, max_devices: int | None, **options: Any) -> int:
    """Send a message and follow it.

    Exit code: 0 when every device's provider took it, 1 when some did not, 2 when the call was refused. With --explain
    the same, of what would be handed over.
    """
    request = _request(**options)
    if explained and (request.accept_only or request.validate_only):
        raise click.UsageError("Choose one: --explain, --accept-only or --validate-only.")
    if max_devices is not None and not explained:
        raise click.UsageError("--max-devices goes with --explain.")
    now = Timestamp()
    now.GetCurrentTime()
    start = request.options.schedule_time if request.options.HasField("schedule_time") else now

    async def work() -> int:
        async with server.client() as client:
            if explained:
                explanations = client.explain(
                    audience=request.audience,
                    notification=request.notification,
                    options=request.options if request.HasField("options") else None,
                    max_devices=max_devices or 0,
                )
                return await explain(explanations, as_json=as_json)
            stream = client.send(
                audience=request.audience,
                notification=request.notification,
                options=request.options if request.HasField("options") else None,
                request_id=request.request_id,
                message_id=request.message_id,
                result_filter=request.result_filter,
                accept_only=request.accept_only,
                validate_only=request.validate_only,
            )
            return await follow(
                stream, as_json=as_json, start=start if start.ToNanoseconds() > now.ToNanoseconds() else None
            )

    return run(work)


def _request(
    *,
    users: Sequence[str],
    users_file: TextIO | None,
    devices: Sequence[str],
    tags: Sequence[str],
    everyone: bool,
    excluded: Sequence[str],
    platforms: Sequence[str],
    title: str | None,
    body: str | None,
    data: Sequence[str],
    collapse_key: str | None,
    ttl: Duration | None,
    at: Timestamp | None,
    wait: Duration | None,
    priority: str | None,
    request_id: str | None,
    json_file: TextIO | None,
    result_filter: str | None,
    accept_only: bool,
    validate_only: bool,
) -> SendRequest:
    """The request that the options describe, on top of the file's. What it lacks the server will say."""
    request = _read_request(json_file.read()) if json_file else SendRequest()
    user_ids = [*users, *(line.rstrip("\r\n") for line in users_file or () if line.strip())]
    if bool(users or users_file) + bool(devices) + bool(tags) + everyone > 1:
        raise click.UsageError("Choose one: --user and --users-file, --device, --tag, or --everyone.")
    audience, notification = request.audience, request.notification
    if users or users_file:
        audience.users.SetInParent()
        audience.users.user_ids[:] = user_ids
    elif devices:
        audience.devices.device_ids[:] = devices
    elif tags:
        audience.tags.tag_names[:] = tags
    elif everyone:
        audience.everyone.SetInParent()
    audience.exclude_user_ids.extend(excluded)
    audience.platforms.extend(Platform.Value(f"PLATFORM_{each.upper().replace('-', '_')}") for each in platforms)
    if title is not None:
        notification.title = title
    if body is not None:
        notification.body = body
    if collapse_key is not None:
        notification.collapse_key = collapse_key
    for pair in data:
        key, equals, value = pair.partition("=")
        if not equals:
            raise click.UsageError(f"--data {pair!r} is not KEY=VALUE.")
        notification.data[key] = value
    if ttl is not None:
        request.options.ttl.CopyFrom(ttl)
    if at is not None and wait is not None:
        raise click.UsageError("Choose one: --at or --in.")
    if at is not None:
        request.options.schedule_time.CopyFrom(at)
    if wait is not None:
        # In whole seconds, so that what is shown is what is asked for.
        request.options.schedule_time.FromSeconds(int(time.time()) + wait.seconds)
    if priority is not None:
        request.options.priority = Priority.Value(f"PRIORITY_{priority.upper()}")
    if request_id is not None:
        request.request_id = request_id
    if result_filter is not None:
        request.result_filter = ResultFilter.Value(f"RESULT_FILTER_{result_filter.upper()}")
    request.accept_only |= accept_only
    request.validate_only |= validate_only
    return request


def _read_request(text: str) -> SendRequest:
    try:
        return Parse(text, SendRequest())
    except ParseError as error:
        raise click.ClickException(f"--json-file is not a SendRequest: {error}") from error
