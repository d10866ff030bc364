"""`bellhop app`: tenants and their secrets; their provider credentials are in `credential.py`."""

import click
from google.protobuf.duration_pb2 import Duration

from bellhop.v1.applications_pb2 import ApplicationPolicy, BindingPolicy, SecretKind
from bellhop_cli.connection import Server, run, server_options
from bellhop_cli.credential import credential
from bellhop_cli.output import DurationType, console, json_line, label, moment, table

_app_id = click.argument("app_id", envvar="BELLHOP_APP_ID")
_default_binding_ttl = click.option(
    "--default-binding-ttl",
    type=DurationType(),
    help="How long a binding lasts that does not say so: 1 minute to 400 days.",
)
_binding_policy = click.option(
    "--binding-policy",
    type=click.Choice(["secret", "grant", "secret-or-grant"]),
    help="What binds a device to a user. For apps that people install: grant.",
)
_as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")


@click.group("app")
def command() -> None:
    """Applications, their secrets and credentials; needs the admin token."""


@command.command("create")
@click.argument("app_id", metavar="[APP]", default="")
@click.option("--name", help="For people. Default: APP.")
@_default_binding_ttl
@_binding_policy
@_as_json
@server_options
def create(
    server: Server,
    app_id: str,
    name: str | None,
    default_binding_ttl: Duration | None,
    binding_policy: str | None,
    as_json: bool,
) -> None:
    """Create an application; the only time that its secrets are shown.

    Give APP, --name or both: without APP the server makes an id.
    """
    if not (app_id or name):
        raise click.UsageError("Give APP, --name or both.", click.get_current_context())

    async def work() -> None:
        async with server.admin_client() as admin:
            policy = None
            if default_binding_ttl is not None or binding_policy is not None:
                policy = ApplicationPolicy(
                    default_binding_ttl=default_binding_ttl, binding_policy=_value_of(binding_policy)
                )
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
@_binding_policy
@_as_json
@server_options
def update(
    server: Server,
    app_id: str,
    name: str | None,
    default_binding_ttl: Duration | None,
    no_ttl: bool,
    binding_policy: str | None,
    as_json: bool,
) -> None:
    """Change what is given, and no more. Bindings that there are keep their end until they are registered again."""
    if default_binding_ttl is not None and no_ttl:
        raise click.UsageError("--default-binding-ttl does not go with --no-default-binding-ttl.")

    async def work() -> None:
        async with server.admin_client() as admin:
            policy = None
            if default_binding_ttl is not None or no_ttl or binding_policy is not None:
                # A policy is replaced as a whole.
                policy = (await admin.get_application(app_id=app_id)).application.policy
                if no_ttl:
                    policy.ClearField("default_binding_ttl")
                if default_binding_ttl is not None:
                    policy.default_binding_ttl.CopyFrom(default_binding_ttl)
                if binding_policy is not None:
                    policy.binding_policy = _value_of(binding_policy)
            changed = await admin.update_application(app_id=app_id, display_name=name, policy=policy)
        if as_json:
            json_line(changed)
        else:
            click.echo(f"Updated {changed.application.app_id}.")

    run(work)


def _value_of(binding_policy: str | None) -> BindingPolicy.ValueType:
    """Of the option; without it the server's default."""
    word = "UNSPECIFIED" if binding_policy is None else binding_policy.replace("-", "_").upper()
    return BindingPolicy.Value(f"BINDING_POLICY_{word}")


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
        rows = [
            (
                each.app_id,
                each.display_name,
                label(BindingPolicy.Name, each.policy.binding_policy, "BINDING_POLICY_"),
                moment(each.create_time),
            )
            for each in applications
        ]
        console().print(table(("APP", "NAME", "BOUND BY", "CREATED"), rows))

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


command.add_command(credential)
