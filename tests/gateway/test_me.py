"""Signed-in people through the gateway to a whole server: their tokens bind, end and show their own devices alone."""

import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from bellhop.v1 import push_registry_pb2 as reg
from bellhop_gateway import app as app_module
from tests.gateway.conftest import gateway
from tests.gateway.issuer import AUDIENCE, ISSUER, TestIssuer
from tests.gateway.test_gateway import problem, violations
from tests.system.live_server import TOKEN, Live, Shop

APNS = {"token": TOKEN}


@pytest.fixture
def issuer() -> TestIssuer:
    return TestIssuer()


@pytest.fixture
async def http(
    live: Live, shop: Shop, issuer: TestIssuer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx.AsyncClient]:
    monkeypatch.setattr(app_module, "client_of_provider", lambda: httpx.AsyncClient(transport=issuer.transport()))
    async with gateway(live, **signing(shop)) as client:
        yield client


def signing(shop: Shop, issuer: str = ISSUER, audience: str = AUDIENCE) -> dict[str, str]:
    return {
        "oidc_issuer": issuer,
        "oidc_audience": audience,
        "app_id": shop.app_id,
        "client_secret": shop.client_secret,
    }


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def device(live: Live, shop: Shop, name: str = "phone") -> Any:
    asked = reg.GetDeviceRequest(device_id=name)
    return (await live.registry.GetDevice(asked, metadata=shop.sender)).device


async def devices(live: Live, shop: Shop) -> list[tuple[str, str]]:
    listed = await live.registry.ListDevices(reg.ListDevicesRequest(), metadata=shop.sender)
    return [(each.device_id, each.user_id) for each in listed.devices]


async def log_in(http: httpx.AsyncClient, token: str, name: str = "phone", **fields: Any) -> httpx.Response:
    return await http.put(f"/v1/me/devices/{name}", json={"apns": APNS, **fields}, headers=bearer(token))


async def test_a_token_binds_its_subject_by_its_session(
    http: httpx.AsyncClient, live: Live, shop: Shop, issuer: TestIssuer
) -> None:
    made = await log_in(http, issuer.token(sid="s1"))
    assert made.status_code == 200
    bound = await device(live, shop)
    assert (bound.user_id, bound.session_id) == ("ann", "s1")
    assert shop.client_secret not in made.text
    shown = await http.get("/v1/me/devices/phone", headers=bearer(issuer.token()))
    assert shown.json()["device"]["userId"] == "ann"
    # The next person takes the phone over, and the one before cannot log them out.
    await log_in(http, issuer.token(sub="ben"))
    assert (await device(live, shop)).user_id == "ben"
    away = await http.delete("/v1/me/devices/phone", headers=bearer(issuer.token()))
    assert away.json() == {"existed": False}
    gone = await http.delete("/v1/me/devices/phone", headers=bearer(issuer.token(sub="ben")))
    assert gone.json() == {"existed": True}


@pytest.mark.parametrize(("field", "value"), [("userId", "ben"), ("user_id", "ben"), ("sessionId", "s")])
async def test_the_body_cannot_say_who_it_is(
    http: httpx.AsyncClient, issuer: TestIssuer, field: str, value: str
) -> None:
    refused = await log_in(http, issuer.token(), **{field: value})
    assert violations(refused)[field] == "is for the token to say"
    by_query = await http.delete(f"/v1/me/devices/phone?expectedUserId={value}", headers=bearer(issuer.token()))
    assert by_query.status_code == 400


@pytest.mark.parametrize(
    ("credentials", "challenge"),
    [
        ({}, "Bearer"),
        ({"authorization": "Basic eDp5"}, 'Bearer error="invalid_token"'),
        ({"authorization": "Bearer nonsense"}, 'Bearer error="invalid_token"'),
    ],
)
async def test_who_is_not_signed_in_is_nobody(
    http: httpx.AsyncClient, shop: Shop, credentials: dict[str, str], challenge: str
) -> None:
    # Not even with the secret that the gateway has.
    known = {"app-id": shop.app_id, "client-secret": shop.client_secret, **credentials}
    refused = await http.put("/v1/me/devices/phone", json={"apns": APNS}, headers=known)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == challenge


async def test_devices_of_others_are_not_there(
    http: httpx.AsyncClient, live: Live, shop: Shop, issuer: TestIssuer
) -> None:
    await log_in(http, issuer.token(sub="ben"), "bens")
    ann = bearer(issuer.token())
    report = {"deviceId": "bens", "interaction": "INTERACTION_SEEN"}
    for answer in (
        await http.get("/v1/me/devices/bens", headers=ann),
        await http.get("/v1/me/subscriptions", params={"deviceId": "bens"}, headers=ann),
        await http.post("/v1/me/subscriptions", json={"deviceId": "bens", "tagNames": ["a"]}, headers=ann),
        await http.post("/v1/me/messages/m1/interactions", json=report, headers=ann),
        await http.get("/v1/me/devices/none", headers=ann),
    ):
        assert problem(answer) == (404, "NOT_FOUND", "DEVICE_NOT_FOUND")
    missing = await http.get("/v1/me/subscriptions", headers=ann)
    assert violations(missing) == {"deviceId": "is required"}


async def test_subscriptions_of_a_person_and_of_their_device(
    http: httpx.AsyncClient, live: Live, shop: Shop, issuer: TestIssuer
) -> None:
    for name in ("news", "sport"):
        await live.registry.CreateTag(reg.CreateTagRequest(tag_name=name), metadata=shop.sender)
    ann = bearer(issuer.token())
    await log_in(http, issuer.token())
    await http.post("/v1/me/subscriptions", json={"tagNames": ["news"]}, headers=ann)
    await http.post("/v1/me/subscriptions", json={"tagNames": ["sport"], "deviceId": "phone"}, headers=ann)
    listed = await http.get("/v1/me/subscriptions", params={"deviceId": "phone"}, headers=ann)
    found = {(each["tagName"], each.get("userId", each.get("deviceId"))) for each in listed.json()["subscriptions"]}
    assert found == {("news", "ann"), ("sport", "phone")}
    removed = await http.post("/v1/me/subscriptions:remove", json={"tagNames": ["news"]}, headers=ann)
    assert removed.json()["changes"][0]["outcome"] == "SUBSCRIPTION_OUTCOME_REMOVED"


async def test_logging_out_everywhere_ends_tokens_from_before(
    http: httpx.AsyncClient, live: Live, shop: Shop, issuer: TestIssuer
) -> None:
    old = issuer.token()
    for name in ("phone", "tablet"):
        await http.put(f"/v1/me/devices/{name}", json={"apns": {"token": name.encode().hex()}}, headers=bearer(old))
    ended = await http.delete("/v1/me/devices", headers=bearer(old))
    assert ended.json() == {"deviceCount": 2}
    assert (await log_in(http, old)).status_code == 401
    assert await devices(live, shop) == []
    assert (await log_in(http, issuer.token(iat=int(time.time()) + 30))).status_code == 200


async def logout(http: httpx.AsyncClient, token: str) -> httpx.Response:
    return await http.post("/v1/backchannel-logout", data={"logout_token": token})


async def test_the_provider_says_that_a_session_has_ended(
    http: httpx.AsyncClient, live: Live, shop: Shop, issuer: TestIssuer
) -> None:
    first, second = issuer.token(sid="s1"), issuer.token(sid="s2")
    await log_in(http, first, "phone")
    await http.put("/v1/me/devices/tablet", json={"apns": {"token": "cd"}}, headers=bearer(second))
    answer = await logout(http, issuer.logout_token(sid="s1"))
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert await devices(live, shop) == [("tablet", "ann")]
    assert (await log_in(http, first)).status_code == 401
    assert (await log_in(http, second, "tablet")).status_code == 200
    # Again, and one that names the session alone.
    assert (await logout(http, issuer.logout_token(sid="s1"))).status_code == 200
    assert (await logout(http, issuer.logout_token(sub=None, sid="s2"))).status_code == 200
    assert await devices(live, shop) == []


async def test_a_logout_token_that_is_shown_again_ends_no_later_login(
    http: httpx.AsyncClient, live: Live, shop: Shop, issuer: TestIssuer
) -> None:
    now = int(time.time())
    token = issuer.logout_token(iat=now - 10)
    await log_in(http, issuer.token(sid="s1", iat=now - 20))
    assert (await logout(http, token)).status_code == 200
    assert await devices(live, shop) == []
    await log_in(http, issuer.token(sid="s2"))
    assert (await logout(http, token)).status_code == 400
    assert await devices(live, shop) == [("phone", "ann")]


async def test_the_provider_says_that_somebody_is_gone(
    http: httpx.AsyncClient, live: Live, shop: Shop, issuer: TestIssuer
) -> None:
    await log_in(http, issuer.token(sid="s1"))
    assert (await logout(http, issuer.logout_token())).status_code == 200
    assert await devices(live, shop) == []


async def test_logout_tokens_that_prove_nothing_end_nothing(
    http: httpx.AsyncClient, live: Live, shop: Shop, issuer: TestIssuer
) -> None:
    await log_in(http, issuer.token(sid="s1"))
    for token in (issuer.token(), "", issuer.logout_token(sub=None, sid="unknown"), issuer.logout_token(nonce="n")):
        refused = await logout(http, token)
        assert (refused.status_code, refused.json()) == (400, {"error": "invalid_request"})
        assert refused.headers["cache-control"] == "no-store"
    assert (await http.post("/v1/backchannel-logout", content=b"\xff")).status_code == 400
    assert await devices(live, shop) == [("phone", "ann")]


async def test_a_provider_is_to_try_again_while_the_server_is_away(
    http: httpx.AsyncClient, live: Live, issuer: TestIssuer
) -> None:
    await log_in(http, issuer.token(sid="s1"))
    await live.stop()
    answer = await logout(http, issuer.logout_token())
    assert answer.status_code in (503, 504)


async def test_an_issuer_that_is_away_is_said_so(http: httpx.AsyncClient, issuer: TestIssuer) -> None:
    issuer.away = True
    answer = await log_in(http, issuer.token())
    assert problem(answer) == (503, "UNAVAILABLE", "SERVICE_UNAVAILABLE")
    assert int(answer.headers["retry-after"]) > 0


# What the package of the provider does with its own libraries is not ours to mend.
@pytest.mark.filterwarnings("ignore:get_jwt_config:DeprecationWarning")
async def test_against_a_real_openid_provider(live: Live, shop: Shop) -> None:
    """Its tokens have no key id, and its keys are new at each start."""
    import oidc_provider_mock

    with oidc_provider_mock.run_server_in_thread(port=0) as server:
        issuer = f"http://localhost:{server.server_port}"
        async with httpx.AsyncClient() as browser:
            (await browser.put(f"{issuer}/users/ann", json={})).raise_for_status()
            back = "http://app.example/back"
            asked = {"client_id": "app", "redirect_uri": back, "response_type": "code", "scope": "openid", "nonce": "n"}
            allowed = await browser.post(f"{issuer}/oauth2/authorize", params=asked, data={"sub": "ann"})
            code = parse_qs(urlsplit(allowed.headers["location"]).query)["code"][0]
            form = {"grant_type": "authorization_code", "code": code, "redirect_uri": back}
            taken = await browser.post(f"{issuer}/oauth2/token", data=form, auth=("app", "secret"))
            token = taken.json()["id_token"]
            told = (await browser.get(f"{issuer}/.well-known/openid-configuration")).json()
        async with gateway(live, **signing(shop, told["issuer"], "app")) as http:
            made = await log_in(http, token)
            assert made.status_code == 200, made.text
            assert made.json()["device"]["userId"] == "ann"
            head, claims, signature = token.split(".")
            assert (await log_in(http, f"{head}.{claims}.{signature[::-1]}")).status_code == 401
