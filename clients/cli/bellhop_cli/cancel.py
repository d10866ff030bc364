"""`bellhop cancel`: takes a message back."""

import click

from bellhop.v1.message_pb2 import MESSAGE_STATE_CANCELLED, MESSAGE_STATE_COMPLETED, PushMessage
from bellhop_cli.connection import Server, run, server_options
from bellhop_cli.output import console, json_line
from bellhop_cli.report import outcomes


@click.command("cancel")
@click.argument("message_id", metavar="MESSAGE")
@click.option("--json", "as_json", is_flag=True, help="The message as a JSON object on a line.")
@server_options
def command(server: Server, message_id: str, as_json: bool) -> None:
    """Take back what has not been handed over to a provider.

    Nothing of the message is, once this command has ended. A message that is over stays as it is.
    """

    async def work() -> None:
        async with server.client() as client:
            message = (await client.cancel_message(message_id=message_id)).message
        if as_json:
            json_line(message)
        else:
            _print(message)

    run(work)


def _print(message: PushMessage) -> None:
    counts = message.counts
    out = console()
    if message.state == MESSAGE_STATE_COMPLETED:
        out.print(f"Message {message.message_id} was over before; nothing was taken back")
    elif message.state == MESSAGE_STATE_CANCELLED:
        out.print(f"Message {message.message_id} cancelled")
    else:
        out.print(
            f"Message {message.message_id} cancelled: nothing more is handed over."
            f" {counts.finished_count} of {counts.device_count} devices have their result;"
            f" the others' will be told by: bellhop watch {message.message_id}"
        )
    out.print(outcomes(counts))
