"""`bellhop app`: tenants, their secrets and provider credentials."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import click
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import ParseDict, ParseError

from bellhop.v1.applications_pb2 import ApnsCredential, ApnsKey, ApplicationPolicy, SecretKind, SetCredentialRequest
from bellhop.v1.device_pb2 import ApnsEnvironment, Platform
from bellhop_cli.connection import Server, run, server_options
from bellhop_cli.output import DurationType, console, json_line, label, moment, table

_app_id = click.argument("app_id", envvar="BELLHOP_APP_ID")
_default_binding_ttl = click.option(
    "--default-binding-ttl",
    type=DurationType(),
    help="How long a binding lasts that does not say so: 1 minute to 400 days.",
)
_as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")


@click.group("app")
def command() -> None:
    """Applications, their secrets and credentials; needs the admin token."""


@command.command("create")
@click.argument("app_id", metavar="[APP]", default="")
@click.option("--name", help="For people. Default: APP.")
@_default_binding_ttl
@_as_json
@server_options
def create(server: Server, app_id: str, name: str | None, default_binding_ttl: Duration | None, as_json: bool) -> None:
    """Create an application; the only time that its secrets are shown.

    Give APP, --name or both: without APP the server makes an id.
    """
    if not (app_id or name):
        raise click.UsageError("Give APP, --name or both.", click.get_current_context())

    async def work() -> None:
        async with server.admin_client() as admin:
            policy = default_binding_ttl and ApplicationPolicy(default_binding_ttl=default_binding_ttl)
            made = await admin.create_application(app_id=app_id, display_name=name or app_id, policy=policy)
        if as_json:
            json_line(made)
            return
        click.echo(f"export BELLHOP_APP_ID={made.application.app_id}")
        click.echo(f"export BELLHOP_CLIENT_SECRET={made.client_secret}")
        click.echo(f"export BELLHOP_APP_SECRET={made.app_secret}")
        click.echo("Keep these secrets: they are not shown again.", err=True)

    run(work)


@command.command("update")
@_app_id
@click.option("--name", help="A new one, for people.")
@_default_binding_ttl
@click.option("--no-default-binding-ttl", "no_ttl", is_flag=True, help="A binding that does not say so lasts for ever.")
@_as_json
@server_options
def update(
    server: Server, app_id: str, name: str | None, default_binding_ttl: Duration | None, no_ttl: bool, as_json: bool
) -> None:
    """Change what is given, and no more. Bindings that there are keep their end until they are registered again."""
    if default_binding_ttl is not None and no_ttl:
        raise click.UsageError("--default-binding-ttl does not go with --no-default-binding-ttl.")

    async def work() -> None:
        async with server.admin_client() as admin:
            policy = None
            if default_binding_ttl is not None or no_ttl:
                # A policy is replaced as a whole.
                policy = (await admin.get_application(app_id=app_id)).application.policy
                policy.ClearField("default_binding_ttl")
                if default_binding_ttl is not None:
                    policy.default_binding_ttl.CopyFrom(default_binding_ttl)
            changed = await admin.update_application(app_id=app_id, display_name=name, policy=policy)
        if as_json:
            json_line(changed)
        else:
            click.echo(f"Updated {changed.application.app_id}.")

    run(work)


@command.command("list")
@_as_json
@server_options
def list_(server: Server, as_json: bool) -> None:
    """List applications."""

    async def work() -> None:
        async with server.admin_client() as admin:
            applications = [each async for each in admin.applications()]
        if as_json:
            for each in applications:
                json_line(each)
            return
        rows = [(each.app_id, each.display_name, moment(each.create_time)) for each in applications]
        console().print(table(("APP", "NAME", "CREATED"), rows))

    run(work)


@command.command("rotate")
@_app_id
@click.option("--kind", type=click.Choice(["client", "app"]), required=True, help="Which secret.")
@click.option("--overlap", type=DurationType(), help="How long the present ones stay good. Default: they end now.")
@_as_json
@server_options
def rotate(server: Server, app_id: str, kind: str, overlap: Duration | None, as_json: bool) -> None:
    """Make a new client or app secret."""

    async def work() -> None:
        async with server.admin_client() as admin:
            wanted = SecretKind.Value(f"SECRET_KIND_{kind.upper()}")
            made = await admin.rotate_secret(app_id=app_id, kind=wanted, overlap=overlap)
        if as_json:
            json_line(made)
            return
        click.echo(f"export BELLHOP_{kind.upper()}_SECRET={made.secret}")
        click.echo("Keep it: it is not shown again.", err=True)

    run(work)


@command.group("credential")
def credential() -> None:
    """What providers know an application by."""


@credential.command("set")
@_app_id
@click.option("--id", "credential_id", default="", help="Its name. Default: apns.")
@click.option("--key-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Apple's .p8 file.")
@click.option("--key-id", help="Of the key, 10 characters.")
@click.option("--team-id", help="Of the team, 10 characters.")
@click.option("--topic", "topics", multiple=True, help="A bundle id that it serves; may be repeated.")
@click.option(
    "--environment",
    "environments",
    type=click.Choice(["sandbox", "production"]),
    multiple=True,
    help="That it serves. Default: both.",
)
@click.option(
    "--json-file",
    type=click.File("r", encoding="utf-8"),
    help="Instead of all these: a body of SetCredential, or what `bellhop simulate` printed; - for standard input.",
)
@click.option("--validate-only", is_flag=True, help="Try it, and store nothing.")
@_as_json
@server_options
def credential_set(
    server: Server,
    app_id: str,
    credential_id: str,
    key_file: Path | None,
    key_id: str | None,
    team_id: str | None,
    topics: Sequence[str],
    environments: Sequence[str],
    json_file: TextIO | None,
    validate_only: bool,
    as_json: bool,
) -> None:
    """Try a credential at the provider and store it."""
    if json_file is not None:
        if key_file or key_id or team_id or topics or environments:
            raise click.UsageError("--json-file has it all: it does not go with --key-file and its companions.")
        request = _read_request(json_file.read())
    elif key_file and key_id and team_id and topics:
        key = ApnsKey(key_id=key_id, team_id=team_id, p8=key_file.read_text("utf-8"))
        served = [ApnsEnvironment.Value(f"APNS_ENVIRONMENT_{each.upper()}") for each in environments]
        request = SetCredentialRequest(apns=ApnsCredential(key=key, topics=topics, environments=served))
    else:
        raise click.UsageError("--key-file, --key-id, --team-id and --topic go together; or give --json-file.")

    async def work() -> None:
        async with server.admin_client() as admin:
            answer = await admin.set_credential(
                app_id=app_id,
                credential_id=credential_id or request.credential_id,
                apns=request.apns,
                validate_only=validate_only,
            )
        if as_json:
            json_line(answer)
            return
        stored, probe = answer.credential, answer.credential.probe
        said = "the provider took it" if probe.ok else f"not tried: {probe.reason}"
        click.echo(f"{'Tried' if validate_only else 'Stored'} {stored.credential_id}: {said}")

    run(work)


@credential.command("list")
@_app_id
@_as_json
@server_options
def credential_list(server: Server, app_id: str, as_json: bool) -> None:
    """List provider credentials, without their secrets."""

    async def work() -> None:
        async with server.admin_client() as admin:
            credentials = [each async for each in admin.credentials(app_id=app_id)]
        if as_json:
            for each in credentials:
                json_line(each)
            return
        rows = [
            (
                each.credential_id,
                label(Platform.Name, each.platform, "PLATFORM_"),
                each.apns.team_id,
                each.apns.key_id,
                ", ".join(each.apns.topics),
                "ok" if each.probe.ok else each.probe.reason,
                moment(each.update_time),
            )
            for each in credentials
        ]
        console().print(table(("CREDENTIAL", "PLATFORM", "TEAM", "KEY", "TOPICS", "PROBE", "STORED"), rows))

    run(work)


@credential.command("delete")
@_app_id
@click.argument("credential_id")
@_as_json
@server_options
def credential_delete(server: Server, app_id: str, credential_id: str, as_json: bool) -> None:
    """Delete a provider credential."""

    async def work() -> None:
        async with server.admin_client() as admin:
            answer = await admin.delete_credential(app_id=app_id, credential_id=credential_id)
        if as_json:
            json_line(answer)
        else:
            click.echo("Deleted." if answer.existed else "There was none.")

    run(work)


def _read_request(text: str) -> SetCredentialRequest:
    try:
        body = json.loads(text)
        if isinstance(body, dict) and "credentials" in body:
            body = body["credentials"]["apns"]
        request = ParseDict(body, SetCredentialRequest())
    except (ValueError, KeyError, TypeError, ParseError):
        # Their own texts may quote the key.
        request = SetCredentialRequest()
    if not request.HasField("apns"):
        raise click.ClickException("--json-file is not a body of SetCredential for APNs.")
    return request
