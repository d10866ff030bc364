"""`bellhop app credential`: what providers know an application by."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import click
from google.protobuf.json_format import ParseDict, ParseError

from bellhop.v1.applications_pb2 import (
    ApnsCredential,
    ApnsKey,
    Credential,
    FcmCredential,
    GenerateVapidKey,
    SetCredentialRequest,
    WebPushCredential,
)
from bellhop.v1.device_pb2 import ApnsEnvironment, Platform
from bellhop_cli.connection import Server, run, server_options
from bellhop_cli.output import console, json_line, label, moment, printable, table

_app_id = click.argument("app_id", envvar="BELLHOP_APP_ID")
_as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group("credential")
def credential() -> None:
    """What providers know an application by."""


@credential.command("set")
@_app_id
@click.option("--id", "credential_id", default="", help="Its name. Default: apns, fcm or web-push.")
@click.option("--key-file", type=_FILE, help="APNs: Apple's .p8 file.")
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
@click.option("--service-account", type=_FILE, help="FCM: the JSON file of a service account.")
@click.option("--sender-id", help="Number of the Firebase project. Default: unknown.")
@click.option("--vapid-generate", is_flag=True, help="Web Push: make a key pair, or keep the one that is there.")
@click.option("--vapid-key", type=_FILE, help="Web Push: a private key in PEM.")
@click.option("--subject", help="Whom push services may write to: mailto: or https:.")
@click.option("--allow-key-change", is_flag=True, help="Take another VAPID key than the present one.")
@click.option(
    "--json-file",
    type=click.File("r", encoding="utf-8"),
    help="Instead of all these: a body of SetCredential, or what `bellhop simulate` printed; - for standard input.",
)
@click.option("--validate-only", is_flag=True, help="Try it, and store nothing.")
@_as_json
@server_options
def set_(
    server: Server,
    app_id: str,
    credential_id: str,
    json_file: TextIO | None,
    validate_only: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Try a credential at its provider and store it.

    APNs: --key-file, --key-id, --team-id and --topic. FCM: --service-account. Web Push: --subject with --vapid-generate
    or --vapid-key. Or --json-file, of which everything that is in it is set.
    """
    if json_file is not None:
        if any(options.values()):
            raise click.UsageError("--json-file has it all: it does not go with other options of credentials.")
        requests = _read_requests(json_file.read())
        if credential_id and len(requests) > 1:
            raise click.UsageError("--id names one, and --json-file has several.")
    else:
        requests = [_request(**options)]

    async def work() -> None:
        async with server.admin_client() as admin:
            for request in requests:
                answer = await admin.set_credential(
                    app_id=app_id,
                    credential_id=credential_id or request.credential_id,
                    apns=request.apns if request.HasField("apns") else None,
                    fcm=request.fcm if request.HasField("fcm") else None,
                    web_push=request.web_push if request.HasField("web_push") else None,
                    validate_only=validate_only,
                )
                if as_json:
                    json_line(answer)
                else:
                    click.echo(f"{'Tried' if validate_only else 'Stored'} {_said(answer.credential)}")

    run(work)


def _said(stored: Credential) -> str:
    probe = stored.probe
    if not probe.ok:
        said = f"not tried: {probe.reason}"
    else:
        said = "the key is sound" if stored.HasField("web_push") else "the provider took it"
    key = f"; applicationServerKey {stored.web_push.vapid_public_key}" if stored.HasField("web_push") else ""
    return printable(f"{stored.credential_id}: {said}{key}")


def _request(
    *,
    key_file: Path | None,
    key_id: str | None,
    team_id: str | None,
    topics: Sequence[str],
    environments: Sequence[str],
    service_account: Path | None,
    sender_id: str | None,
    vapid_generate: bool,
    vapid_key: Path | None,
    subject: str | None,
    allow_key_change: bool,
) -> SetCredentialRequest:
    apns = any((key_file, key_id, team_id, topics, environments))
    fcm = any((service_account, sender_id))
    web_push = any((vapid_generate, vapid_key, subject, allow_key_change))
    if apns + fcm + web_push != 1:
        raise click.UsageError("Give a credential of one network: --key-file, --service-account or --vapid-….")
    if fcm:
        if service_account is None:
            raise click.UsageError("--sender-id goes with --service-account.")
        account = service_account.read_text("utf-8")
        return SetCredentialRequest(fcm=FcmCredential(service_account_json=account, sender_id=sender_id or ""))
    if web_push:
        if vapid_generate == bool(vapid_key) or not subject:
            raise click.UsageError("--subject goes with one of --vapid-generate and --vapid-key.")
        pair = WebPushCredential(subject=subject, allow_key_change=allow_key_change)
        if vapid_key is None:
            pair.generate.CopyFrom(GenerateVapidKey())
        else:
            pair.vapid_private_key = vapid_key.read_text("utf-8")
        return SetCredentialRequest(web_push=pair)
    if not (key_file and key_id and team_id and topics):
        raise click.UsageError("--key-file, --key-id, --team-id and --topic go together.")
    key = ApnsKey(key_id=key_id, team_id=team_id, p8=key_file.read_text("utf-8"))
    served = [ApnsEnvironment.Value(f"APNS_ENVIRONMENT_{each.upper()}") for each in environments]
    return SetCredentialRequest(apns=ApnsCredential(key=key, topics=topics, environments=served))


@credential.command("list")
@_app_id
@_as_json
@server_options
def list_(server: Server, app_id: str, as_json: bool) -> None:
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
                *_shown(each),
                "ok" if each.probe.ok else each.probe.reason,
                moment(each.update_time),
            )
            for each in credentials
        ]
        console().print(table(("CREDENTIAL", "PLATFORM", "WHO", "FOR", "PROBE", "STORED"), rows))

    run(work)


def _shown(each: Credential) -> tuple[str, str]:
    """By what the provider knows whom, and what it serves."""
    match each.WhichOneof("detail"):
        case "apns":
            return f"{each.apns.team_id} {each.apns.key_id}", ", ".join(each.apns.topics)
        case "fcm":
            return each.fcm.client_email, each.fcm.project_id
        case "web_push":
            return each.web_push.subject, each.web_push.vapid_public_key
        case None:
            return "", ""


@credential.command("delete")
@_app_id
@click.argument("credential_id")
@_as_json
@server_options
def delete(server: Server, app_id: str, credential_id: str, as_json: bool) -> None:
    """Delete a provider credential."""

    async def work() -> None:
        async with server.admin_client() as admin:
            answer = await admin.delete_credential(app_id=app_id, credential_id=credential_id)
        if as_json:
            json_line(answer)
        else:
            click.echo("Deleted." if answer.existed else "There was none.")

    run(work)


def _read_requests(text: str) -> list[SetCredentialRequest]:
    try:
        body = json.loads(text)
        simulated = isinstance(body, dict) and "credentials" in body
        bodies = list(body["credentials"].values()) if simulated else [body]
        requests = [ParseDict(each, SetCredentialRequest()) for each in bodies]
    except (ValueError, AttributeError, TypeError, ParseError):
        # Their own texts may quote the key.
        requests = []
    if not requests or not all(request.WhichOneof("credential") for request in requests):
        raise click.ClickException("--json-file is not a body of SetCredential.")
    return requests
