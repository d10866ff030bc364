"""TLS and mutual TLS with real certificates; where a server refuses to listen."""

import contextlib
import datetime
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bellhop.v1 import applications_pb2 as apps
from bellhop_server.main import running_server
from bellhop_server.outfit import StartRefused
from bellhop_server.settings import Address
from tests.system.live_server import ADMIN_TOKEN, as_admin, live_server, refusal, settings_in, told


@dataclass(frozen=True)
class Certified:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        form = serialization.PrivateFormat.PKCS8
        return self.key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        certificate.write_bytes(self.pem)
        key.write_bytes(self.key_pem)
        return certificate, key


def certify(name: str, issuer: Certified | None = None) -> Certified:
    """A certificate for a name, by an authority or, without one, of an authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(
            subject_name=subject, public_key=key.public_key(), serial_number=x509.random_serial_number()
        )
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .sign(key if issuer is None else issuer.key, hashes.SHA256())
    )
    return Certified(certificate, key)


AUTHORITY, STRANGER = certify("authority.test"), certify("stranger.test")
SERVER, CLIENT, IMPOSTOR = certify("localhost", AUTHORITY), certify("client", AUTHORITY), certify("client", STRANGER)
AS_LOCALHOST = (("grpc.ssl_target_name_override", "localhost"),)
LIST = apps.ListApplicationsRequest()


async def test_calls_over_tls(tmp_path: Path) -> None:
    certificate, key = SERVER.write(tmp_path, "server")
    settings = settings_in(tmp_path, tls_cert=certificate, tls_key=key)
    trusting = grpc.ssl_channel_credentials(AUTHORITY.pem)
    async with live_server(settings, channel_credentials=trusting, options=AS_LOCALHOST) as live:
        await live.applications.ListApplications(LIST, metadata=as_admin())
        async with grpc.aio.insecure_channel(live.server.address) as plain:
            call = plain.unary_unary("/bellhop.v1.Applications/ListApplications")(b"", metadata=as_admin(), timeout=5)
            assert (await refusal(call)).code() is grpc.StatusCode.UNAVAILABLE


@pytest.fixture
async def mutual(tmp_path: Path) -> AsyncIterator[str]:
    """The address of a server that wants certificates."""
    certificate, key = SERVER.write(tmp_path, "server")
    authority, _ = AUTHORITY.write(tmp_path, "authority")
    settings = settings_in(tmp_path, tls_cert=certificate, tls_key=key, tls_client_ca=authority)
    async with running_server(settings, providers={}) as server:
        yield server.address


async def list_as(address: str, client: Certified | None, metadata: tuple[tuple[str, str], ...]) -> None:
    pair = (client.key_pem, client.pem) if client else (None, None)
    credentials = grpc.ssl_channel_credentials(AUTHORITY.pem, *pair)
    async with grpc.aio.secure_channel(address, credentials, options=AS_LOCALHOST) as channel:
        method = channel.unary_unary("/bellhop.v1.Applications/ListApplications")
        await method(b"", metadata=metadata, timeout=5)


async def test_mutual_tls_admits(mutual: str) -> None:
    await list_as(mutual, CLIENT, as_admin())


@pytest.mark.parametrize("client", [None, IMPOSTOR], ids=["without", "of a stranger"])
async def test_mutual_tls_turns_away(mutual: str, client: Certified | None) -> None:
    assert (await refusal(list_as(mutual, client, as_admin()))).code() is grpc.StatusCode.UNAVAILABLE


async def test_a_certificate_replaces_no_secret(mutual: str) -> None:
    assert told(await refusal(list_as(mutual, CLIENT, ())))[1] == "CREDENTIALS_MISSING"


async def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    async with running_server(settings_in(tmp_path), providers={}) as server:
        port = int(server.address.rpartition(":")[2])
        taken = settings_in(tmp_path / "second", listen=Address("127.0.0.1", port))
        with pytest.raises(StartRefused, match=f"Cannot listen on 127.0.0.1:{port}"):
            await running_server(taken, providers={}).__aenter__()


async def test_ipv6(tmp_path: Path) -> None:
    async with live_server(settings_in(tmp_path, listen=Address("::1", 0))) as live:
        assert live.server.address.startswith("[::1]:")
        await live.applications.ListApplications(LIST, metadata=as_admin())


def encrypted(key: ec.EllipticCurvePrivateKey) -> bytes:
    form, sealing = serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"hunter2")
    return key.private_bytes(serialization.Encoding.PEM, form, sealing)


HALF = SERVER.pem[: len(SERVER.pem) // 2]


@pytest.mark.parametrize(
    ("setting", "file", "content"),
    [
        ("BELLHOP_TLS_CERT", "server.pem", None),
        ("BELLHOP_TLS_CERT", "server.pem", b""),
        ("BELLHOP_TLS_CERT", "server.pem", b"garbage"),
        ("BELLHOP_TLS_CERT", "server.pem", SERVER.key_pem),
        ("BELLHOP_TLS_CERT", "server.pem", HALF),
        ("BELLHOP_TLS_KEY", "server.key", None),
        ("BELLHOP_TLS_KEY", "server.key", b"garbage"),
        ("BELLHOP_TLS_KEY", "server.key", SERVER.pem),
        ("BELLHOP_TLS_KEY", "server.key", CLIENT.key_pem),
        ("BELLHOP_TLS_KEY", "server.key", encrypted(SERVER.key)),
        ("BELLHOP_TLS_CLIENT_CA", "authority.pem", None),
        ("BELLHOP_TLS_CLIENT_CA", "authority.pem", b""),
        ("BELLHOP_TLS_CLIENT_CA", "authority.pem", b"\n\n"),
        ("BELLHOP_TLS_CLIENT_CA", "authority.pem", AUTHORITY.key_pem),
    ],
)
async def test_a_file_of_tls_that_cannot_be_used_is_named(
    tmp_path: Path, setting: str, file: str, content: bytes | None
) -> None:
    certificate, key = SERVER.write(tmp_path, "server")
    authority, _ = AUTHORITY.write(tmp_path, "authority")
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_bytes(content)
    settings = settings_in(tmp_path, tls_cert=certificate, tls_key=key, tls_client_ca=authority)
    with pytest.raises(StartRefused, match=f"^{setting}: .*{file}") as refused:
        await running_server(settings, providers={}).__aenter__()
    assert "\n" not in str(refused.value)


async def test_a_database_of_another_process_is_told(tmp_path: Path) -> None:
    async with running_server(settings_in(tmp_path), providers={}):
        with pytest.raises(StartRefused, match="in use by another process"):
            await running_server(settings_in(tmp_path), providers={}).__aenter__()


async def test_the_wrong_master_key_is_told(tmp_path: Path) -> None:
    async with running_server(settings_in(tmp_path), providers={}):
        pass
    with pytest.raises(StartRefused, match="not the one that this database was sealed under"):
        await running_server(settings_in(tmp_path, master_key="A" * 43 + "="), providers={}).__aenter__()


async def test_postgresql_wants_a_master_key(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, database_url="postgresql://127.0.0.1:1/bellhop")
    with pytest.raises(StartRefused, match="BELLHOP_MASTER_KEY"):
        await running_server(settings, providers={}).__aenter__()


@pytest.mark.parametrize("url", ["mysql://u:hunter2@h/x", "postgres//u:hunter2@h/x", "sqlite:bellhop.db", "x"])
async def test_a_database_of_another_kind_is_told_before_its_key(tmp_path: Path, url: str) -> None:
    with pytest.raises(StartRefused, match=r"begins with sqlite:/// or postgresql://") as refused:
        await running_server(settings_in(tmp_path, database_url=url), providers={}).__aenter__()
    assert "hunter2" not in str(refused.value)


def bellhop(folder: Path, command: str, **settings: str) -> subprocess.Popen[str]:
    """A command of its own process, with these settings and no others."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("BELLHOP_", "GRPC_"))}
    return subprocess.Popen(
        [sys.executable, "-m", "bellhop_cli.main", command],
        cwd=folder,
        env=environment | {f"BELLHOP_{name.upper()}": value for name, value in settings.items()},
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_a_database_url_that_cannot_be_read_is_told_in_a_line(tmp_path: Path, command: str) -> None:
    url = "postgresql://u:hunter2@h:port/x"
    with bellhop(tmp_path, command, database_url=url, master_key="A" * 43 + "=", admin_token=ADMIN_TOKEN) as process:
        _, said = process.communicate(timeout=30)
    assert process.returncode == 2
    assert said == "bellhop: BELLHOP_DATABASE_URL is not a URL that asyncpg understands.\n"


def test_whatever_strangers_do_the_log_is_json(tmp_path: Path) -> None:
    """A handshake that fails makes gRPC write lines of its own, unless it is told to be silent before it loads."""
    certificate, key = SERVER.write(tmp_path, "server")
    settings = {"listen": "127.0.0.1:0", "admin_token": ADMIN_TOKEN, "tls_cert": str(certificate), "tls_key": str(key)}
    with bellhop(tmp_path, "serve", **settings) as process:
        assert process.stderr is not None
        said = []
        try:
            for line in process.stderr:
                said.append(json.loads(line)["event"])
                if said[-1] == "listening":
                    be_strange(json.loads(line)["address"])
                    process.terminate()
        finally:
            process.terminate()
    assert process.returncode == 0
    assert said[-1] == "stopped"


def be_strange(address: str) -> None:
    """Speaks no TLS to a server that does, until it hangs up."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            while stranger.recv(1024):
                pass


async def test_a_database_that_is_away_is_told(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, database_url="postgresql://127.0.0.1:1/bellhop", master_key="A" * 43 + "=")
    with pytest.raises(StartRefused, match="cannot be reached"):
        await running_server(settings, providers={}).__aenter__()


async def test_an_admin_token_that_others_may_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bellhop.admin-token").write_text("secret")
    (tmp_path / "bellhop.admin-token").chmod(0o644)
    with pytest.raises(StartRefused, match="chmod 600") as refused:
        await running_server(settings_in(tmp_path, admin_token=""), providers={}).__aenter__()
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "token",
    ["k", "x" * 15, " " * 20, " an-admin-token-for-tests ", "an admin token for tests", "an-admin-tokén-for-tests"],
)
async def test_an_admin_token_that_can_be_guessed_or_not_be_sent_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    with pytest.raises(StartRefused, match=r"^BELLHOP_ADMIN_TOKEN is no admin token: 16 or more") as refused:
        await running_server(settings_in(tmp_path, admin_token=token), providers={}).__aenter__()
    assert len(token) < 16 or token not in str(refused.value)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bellhop.admin-token").write_text("k\n")
    (tmp_path / "bellhop.admin-token").chmod(0o600)
    with pytest.raises(StartRefused, match=r"bellhop\.admin-token holds is no admin token"):
        await running_server(settings_in(tmp_path, admin_token=""), providers={}).__aenter__()


async def test_an_admin_token_of_sixteen_characters_will_do(tmp_path: Path) -> None:
    token = "x" * 16
    async with live_server(settings_in(tmp_path, admin_token=token)) as live:
        await live.applications.ListApplications(LIST, metadata=as_admin(token))


async def test_the_admin_token_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tokens = set()
    for _ in range(2):
        async with live_server(settings_in(tmp_path, admin_token="")) as live:
            tokens.add(live.server.admin_token)
            await live.applications.ListApplications(LIST, metadata=as_admin(live.server.admin_token))
    assert len(tokens) == 1
    assert (tmp_path / "bellhop.admin-token").stat().st_mode & 0o777 == 0o600
