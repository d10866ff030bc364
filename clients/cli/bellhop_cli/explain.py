"""What people see of `bellhop send --explain`: for each device the request that would be made, or why none would."""

from collections.abc import AsyncIterator

import click

from bellhop.v1.device_pb2 import Platform
from bellhop.v1.message_pb2 import Outcome
from bellhop.v1.notifier_pb2 import ExplainSendResponse
from bellhop_cli.output import json_line, label, printable


async def explain(explanations: AsyncIterator[ExplainSendResponse], *, as_json: bool) -> int:
    """Shows them. Returns 0, or 1 when something would not be handed over. Raises BellhopError."""
    code, first = 0, True
    async for each in explanations:
        if each.HasField("withheld"):
            code = 1
        if as_json:
            json_line(each)
            continue
        click.echo("\n".join(_lines(each)) if first else "\n".join(["", *_lines(each)]))
        first = False
    if first and not as_json:
        click.echo("There is no device to send to.")
    return code


def _lines(each: ExplainSendResponse) -> list[str]:
    platform = label(Platform.Name, each.platform, "PLATFORM_") if each.platform else "-"
    heading = f"{printable(each.device_id) or '-'}  {printable(each.user_id) or '-'}  {platform}"
    if each.HasField("withheld"):
        return [f"{heading}  {label(Outcome.Name, each.withheld, 'OUTCOME_')}"]
    request = each.request
    headers = [printable(f"{name}: {value}") for name, value in sorted(request.headers.items())]
    body = [printable(line) for line in request.body.splitlines()]
    return [heading, printable(request.url), *headers, *body, f"{request.body_size} of {request.body_limit} bytes"]
