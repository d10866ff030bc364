"""Where a client connects to, and what it trusts."""

import grpc
import pytest

from bellhop_client import AdminClient, Client, UnavailableError
from bellhop_client.connection import _parse_target
from tests.certificates import localhost
from tests.unit.scripted_server import scripted_server


@pytest.mark.parametrize(
    ("target", "tls", "expected"),
    [
        ("127.0.0.1:50051", None, ("127.0.0.1:50051", False)),
        ("localhost:50051", None, ("localhost:50051", False)),
        ("[::1]:50051", None, ("[::1]:50051", False)),
        ("127.0.0.1:50051", True, ("127.0.0.1:50051", True)),
        ("push.example.com:50051", None, ("push.example.com:50051", True)),
        ("localhost.example.com:50051", None, ("localhost.example.com:50051", True)),
        ("10.0.0.7:50051", False, ("10.0.0.7:50051", False)),
        ("http://10.0.0.7:50051", None, ("10.0.0.7:50051", False)),
        ("https://127.0.0.1:50051/", None, ("127.0.0.1:50051", True)),
        ("https://push.example.com", None, ("push.example.com:443", True)),
        ("https://[2001:db8::1]:8443", True, ("[2001:db8::1]:8443", True)),
    ],
)
def test_plaintext_beyond_loopback_must_be_asked_for(target: str, tls: bool | None, expected: tuple[str, bool]) -> None:
    assert _parse_target(target, tls) == expected


@pytest.mark.parametrize(
    ("target", "tls"),
    [
        ("", None),
        ("push.example.com", None),
        (":50051", None),
        ("ftp://push.example.com:1", None),
        ("https://push.example.com:port", None),
        ("https://push.example.com:70000", None),
        ("https://push.example.com/path", None),
        ("https://user@push.example.com:1", None),
        ("http://push.example.com:1", True),
        ("https://push.example.com:1", False),
    ],
)
def test_a_target_that_cannot_be_one_is_refused(target: str, tls: bool | None) -> None:
    with pytest.raises(ValueError):
        _parse_target(target, tls)


@pytest.mark.parametrize("secret", ["bha_1\n", " bha_1", "bhä_1", "bha\x00"])
async def test_a_secret_that_no_header_can_carry_is_refused_without_showing_it(secret: str) -> None:
    with pytest.raises(ValueError, match="app-secret") as caught:
        Client("127.0.0.1:1", app_id="shop", app_secret=secret)
    assert secret not in str(caught.value)


async def test_tls_and_mutual_tls() -> None:
    root, key = localhost()
    client_root, client_key = localhost()
    credentials = grpc.ssl_server_credentials([(key, root)], client_root, require_client_auth=True)
    with scripted_server(credentials) as server:
        async with AdminClient(
            f"https://{server.address}",
            admin_token="root",
            root_certificates=root,
            client_certificate=client_root,
            client_key=client_key,
        ) as admin:
            assert [each.app_id async for each in admin.applications()] == ["shop"]


async def test_a_certificate_of_a_stranger_is_refused() -> None:
    root, key = localhost()
    other_root, _ = localhost()
    with scripted_server(grpc.ssl_server_credentials([(key, root)])) as server:
        async with AdminClient(server.address, admin_token="root", root_certificates=other_root) as admin:
            with pytest.raises(UnavailableError):
                await admin.create_application(display_name="The shop")
        assert server.applications.requests == []
