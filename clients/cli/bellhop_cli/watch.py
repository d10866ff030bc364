"""`bellhop watch`: a message once more, from any point on."""

import click

from bellhop.v1.event_pb2 import RESULT_FILTER_UNSPECIFIED, ResultFilter
from bellhop_cli.connection import Server, run, server_options
from bellhop_cli.report import follow


@click.command("watch")
@click.argument("message_id", metavar="MESSAGE")
@click.option("--after", "cursor", default="", help="The last cursor that you saw. Default: from the start.")
@click.option("--filter", "result_filter", type=click.Choice(["all", "failures", "none"]), help="Results to show.")
@click.option("--json", "as_json", is_flag=True, help="Every event as a JSON object on a line.")
@server_options
def command(server: Server, message_id: str, cursor: str, result_filter: str | None, as_json: bool) -> None:
    """Follow a message to its end, while it is sent or after."""
    wanted = (
        ResultFilter.Value(f"RESULT_FILTER_{result_filter.upper()}") if result_filter else RESULT_FILTER_UNSPECIFIED
    )

    async def work() -> None:
        async with server.client() as client:
            await follow(client.watch(message_id, after_cursor=cursor, result_filter=wanted), as_json=as_json)

    run(work)
