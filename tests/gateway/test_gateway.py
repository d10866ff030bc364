"""Requests through the gateway to a whole server and back: paths, bodies, errors and limits."""

import json
from typing import Any

import grpc
import httpx
import pytest
from google.rpc import error_details_pb2, status_pb2

from bellhop.v1 import push_registry_pb2 as reg
from bellhop_gateway.errors import HTTP_STATUS, Refused, from_grpc
from bellhop_gateway.limits import MOST_BYTES, Rate
from bellhop_gateway.routes import ME_ROUTES, ROUTES, find
from tests.gateway.conftest import gateway, headers
from tests.rules.sources import ROOT
from tests.system.live_server import ADMIN_TOKEN, TOKEN, Live, Shop

APNS = {"token": TOKEN}


def problem(answer: httpx.Response) -> tuple[int, str, str]:
    """Status, code and reason of an error; without a reason, its message."""
    error = answer.json()["error"]
    assert error["code"] == answer.status_code
    reasons = [each["reason"] for each in error["details"] if each["@type"].endswith("ErrorInfo")]
    return answer.status_code, error["status"], reasons[0].removeprefix("ERROR_REASON_") if reasons else ""


def violations(answer: httpx.Response) -> dict[str, str]:
    details = answer.json()["error"]["details"]
    bad = next(each for each in details if each["@type"].endswith("BadRequest"))
    return {each["field"]: each["description"] for each in bad["fieldViolations"]}


async def register(http: httpx.AsyncClient, shop: Shop, name: str = "phone", **fields: Any) -> httpx.Response:
    body = {"userId": "ann", "apns": APNS, **fields}
    return await http.put(f"/v1/devices/{name}", json=body, headers=headers(shop, "client"))


async def test_the_life_of_a_device(http: httpx.AsyncClient, shop: Shop) -> None:
    made = await register(http, shop)
    assert (made.status_code, made.json()["created"]) == (200, True)
    assert made.headers["cache-control"] == "no-store"
    again = await register(http, shop)
    assert again.json()["created"] is False
    secret = made.json()["deviceSecret"]
    own = {"app-id": shop.app_id, "device-secret": again.json()["deviceSecret"] or secret}
    assert (await http.get("/v1/devices/phone", headers=own)).json()["device"]["userId"] == "ann"
    changed = await http.patch("/v1/devices/phone", json={"locale": "de_AT"}, headers=own)
    assert changed.json()["device"]["locale"] == "de-AT"
    listed = await http.get("/v1/devices", params={"userId": "ann", "pageSize": 5}, headers=headers(shop))
    assert [device["deviceId"] for device in listed.json()["devices"]] == ["phone"]
    refused = await http.delete("/v1/devices/phone", params={"expected_user_id": "ben"}, headers=own)
    assert refused.json() == {"existed": False}
    assert (await http.delete("/v1/devices/phone", headers=own)).json() == {"existed": True}
    gone = await http.get("/v1/devices/phone", headers=headers(shop))
    assert problem(gone) == (404, "NOT_FOUND", "DEVICE_NOT_FOUND")


@pytest.mark.parametrize("name", ["a/b", "a:cancel", "ü ñ", "..", "%", "a?b#c", "+"])
async def test_ids_in_the_path_are_whatever_they_are(http: httpx.AsyncClient, shop: Shop, name: str) -> None:
    encoded = "".join(f"%{byte:02X}" for byte in name.encode())
    made = await register(http, shop, encoded)
    assert made.json()["device"]["deviceId"] == name
    shown = await http.get(f"/v1/devices/{encoded}", headers=headers(shop))
    assert shown.json()["device"]["deviceId"] == name


async def test_the_admin_s_errands(http: httpx.AsyncClient, live: Live) -> None:
    admin = {"authorization": f"Bearer {ADMIN_TOKEN}"}
    made = await http.post("/v1/applications", json={"appId": "bank", "displayName": "Bank"}, headers=admin)
    assert made.json()["clientSecret"].startswith("bhc_")
    policy = {"policy": {"bindingPolicy": "BINDING_POLICY_GRANT"}}
    changed = await http.patch("/v1/applications/bank", json=policy, headers=admin)
    assert changed.json()["application"]["policy"]["bindingPolicy"] == "BINDING_POLICY_GRANT"
    rotated = await http.post("/v1/applications/bank/secrets:rotate", json={"kind": "SECRET_KIND_APP"}, headers=admin)
    secret_id = rotated.json()["description"]["secretId"]
    ended = await http.delete(f"/v1/applications/bank/secrets/{secret_id}", headers=admin)
    assert "expireTime" in ended.json()["secret"]
    assert (await http.delete("/v1/applications/bank", headers=admin)).json() == {"existed": True}


async def test_tags_grants_and_interactions(http: httpx.AsyncClient, shop: Shop) -> None:
    assert (await http.get("/v1/client-config", headers={"app-id": "shop"})).json()["platforms"] == []
    assert (await http.post("/v1/tags", json={"tagName": "news/1"}, headers=headers(shop))).status_code == 200
    shown = await http.get("/v1/tags/news%2F1", headers=headers(shop))
    assert shown.json()["tag"]["subscriptionCount"] == 0
    asked = {"userId": "ann", "tagNames": ["news/1", "none"]}
    changes = (await http.post("/v1/subscriptions", json=asked, headers=headers(shop))).json()["changes"]
    assert [each["outcome"].rpartition("OUTCOME_")[2] for each in changes] == ["CREATED", "TAG_NOT_FOUND"]
    removed = await http.post("/v1/subscriptions:remove", json=asked, headers=headers(shop))
    assert removed.json()["changes"][0]["outcome"] == "SUBSCRIPTION_OUTCOME_REMOVED"
    grant = (await http.post("/v1/bind-grants", json={"userId": "ann"}, headers=headers(shop))).json()["bindGrant"]
    bound = {"app-id": "shop", "bind-grant": grant}
    made = await http.put("/v1/devices/phone", json={"userId": "ann", "apns": APNS}, headers=bound)
    assert made.json()["device"]["userId"] == "ann"
    body = {"deviceId": "phone", "interaction": "INTERACTION_SEEN"}
    none = await http.post("/v1/messages/m1/interactions", json=body, headers=headers(shop))
    assert problem(none) == (404, "NOT_FOUND", "MESSAGE_NOT_FOUND")


async def test_the_server_s_errors_come_as_they_are(http: httpx.AsyncClient, shop: Shop) -> None:
    refused = await http.put("/v1/devices/phone", json={}, headers=headers(shop, "client"))
    assert problem(refused) == (400, "INVALID_ARGUMENT", "INVALID_REQUEST")
    assert violations(refused)["user_id"] == "is required"
    wrong = await http.get("/v1/devices", headers={"app-id": "shop", "app-secret": "bha_wrong"})
    assert problem(wrong) == (401, "UNAUTHENTICATED", "CREDENTIALS_INVALID")
    assert wrong.headers["www-authenticate"] == "Bearer"
    kind = await http.get("/v1/devices", headers=headers(shop, "client"))
    assert problem(kind) == (403, "PERMISSION_DENIED", "CREDENTIAL_KIND_NOT_ACCEPTED")


@pytest.mark.parametrize(
    ("body", "field", "text"),
    [
        ({"nothing": 1}, "nothing", "is no field"),
        ({"userId": 7}, "userId", "must be a string"),
        ({"userId": None}, "userId", "must be a string"),
        ({"userId": "a", "user_id": "a"}, "user_id", "cannot come together"),
        ({"apns": {"token": "ab"}, "fcm": {"token": "x"}}, "fcm", "cannot come together"),
        ({"apns": {"environment": "MARS"}}, "apns.environment", "must be one of"),
        ({"apns": []}, "apns", "must be an object"),
        ({"attributes": {"a": 1}}, "attributes.a", "must be a string"),
        ({"bindingTtl": "soon"}, "bindingTtl", "number of seconds"),
        ({"bindingGeneration": True}, "bindingGeneration", "must be an integer"),
        ({"bindingGeneration": 2**63}, "bindingGeneration", "must be from"),
        ({"bindingKey": "%%%"}, "bindingKey", "must be base64"),
        ({"deviceId": "other"}, "deviceId", "another one than in the path"),
    ],
)
async def test_a_body_that_is_not_the_contract_s(
    http: httpx.AsyncClient, shop: Shop, body: Any, field: str, text: str
) -> None:
    refused = await http.put("/v1/devices/phone", json=body, headers=headers(shop, "client"))
    assert problem(refused) == (400, "INVALID_ARGUMENT", "INVALID_REQUEST")
    assert text in violations(refused)[field]


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"{", "is not JSON"),
        (b"[]", "is not a JSON object"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": 1, "a": 1}', "same key twice"),
        (b'"\xff"', "is not UTF-8"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "too long"),
    ],
)
async def test_a_body_that_is_no_json(http: httpx.AsyncClient, shop: Shop, raw: bytes, text: str) -> None:
    kind = {**headers(shop, "client"), "content-type": "application/json"}
    refused = await http.put("/v1/devices/phone", content=raw, headers=kind)
    assert problem(refused) == (400, "INVALID_ARGUMENT", "INVALID_REQUEST")
    assert text in violations(refused)["body"]


async def test_bodies_of_another_kind_or_too_large(http: httpx.AsyncClient, shop: Shop) -> None:
    form = await http.put("/v1/devices/phone", data={"userId": "ann"}, headers=headers(shop, "client"))
    assert form.status_code == 415

    sent = 0

    async def endless() -> Any:
        nonlocal sent
        while True:
            sent += 65536
            yield b" " * 65536

    kind = {**headers(shop, "client"), "content-type": "application/json"}
    large = await http.put("/v1/devices/phone", content=endless(), headers=kind)
    assert large.status_code == 413
    assert sent <= MOST_BYTES + 2 * 65536


@pytest.mark.parametrize(
    ("query", "field", "text"),
    [
        ("nothing=1", "nothing", "is no parameter"),
        ("pageSize=x", "pageSize", "must be an integer"),
        ("pageSize=1&page_size=1", "page_size", "is given twice"),
        ("anonymous=yes", "anonymous", "must be true or false"),
        ("platforms=MARS", "platforms[0]", "must be one of"),
        ("pageSize=-1", "page_size", "is negative"),
    ],
)
async def test_a_query_that_is_wrong(http: httpx.AsyncClient, shop: Shop, query: str, field: str, text: str) -> None:
    refused = await http.get(f"/v1/devices?{query}", headers=headers(shop))
    assert refused.status_code == 400
    assert text in violations(refused)[field] or field == "page_size"


async def test_credentials_that_no_call_could_carry(http: httpx.AsyncClient, shop: Shop) -> None:
    twice = [("app-id", "shop"), ("app-secret", shop.app_secret), ("app-secret", shop.app_secret)]
    assert "comes twice" in violations(await http.get("/v1/devices", headers=twice))["app-secret"]
    strange = {"app-id": "shop", "app-secret": "ü".encode("latin-1")}
    assert (await http.get("/v1/devices", headers=strange)).status_code == 400


async def test_paths_and_methods_that_are_not_there(http: httpx.AsyncClient) -> None:
    assert problem(await http.get("/v1/nothing"))[:2] == (404, "NOT_FOUND")
    assert problem(await http.get("/nothing"))[:2] == (404, "NOT_FOUND")
    assert problem(await http.get("/v1/devices/%ff"))[:2] == (400, "INVALID_ARGUMENT")
    wrong = await http.put("/v1/client-config")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET")
    assert (await http.post("/health")).headers["allow"] in ("GET, HEAD", "HEAD, GET")
    assert problem(await http.get("/v1/me/devices/phone"))[:2] == (404, "NOT_FOUND")


async def test_a_client_that_asks_too_often_is_told_when_to_come_back(live: Live) -> None:
    async with gateway(live, gateway_rate=1) as http:
        answers = [await http.get("/v1/client-config", headers={"app-id": "none"}) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [401, 401, 429]
        assert problem(answers[2]) == (429, "RESOURCE_EXHAUSTED", "RATE_LIMITED")
        assert int(answers[2].headers["retry-after"]) >= 1
        assert (await http.get("/health")).status_code == 200


def test_a_bucket_fills_with_time_and_forgets_who_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bellhop_gateway.limits.REMEMBERED", 2)
    now = 100.0
    rate = Rate(10, lambda: now)
    for _ in range(20):
        rate.take("a")
    with pytest.raises(Refused) as refused:
        rate.take("a")
    assert refused.value.headers["retry-after"] == "1"
    rate.take("b")
    now += 0.125
    rate.take("a")
    with pytest.raises(Refused):
        rate.take("a")
    rate.take("c")
    rate.take("d")
    for _ in range(20):
        rate.take("a")


async def test_pages_of_other_origins_ask_first(live: Live) -> None:
    asked = {"origin": "https://app.example", "access-control-request-method": "PUT"}
    async with gateway(live, gateway_cors_origins="https://app.example") as http:
        told = await http.options("/v1/devices/x", headers={**asked, "access-control-request-headers": "app-id"})
        assert told.headers["access-control-allow-origin"] == "https://app.example"
        other = await http.options("/v1/devices/x", headers={**asked, "origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers
    async with gateway(live) as http:
        assert "access-control-allow-origin" not in (await http.options("/v1/devices/x", headers=asked)).headers


async def test_it_says_whether_its_server_serves(live: Live) -> None:
    async with gateway(live) as http:
        assert (await http.get("/ready")).status_code == 200
        await live.stop()
        assert (await http.get("/ready")).status_code == 503
        assert (await http.get("/health")).status_code == 200
        away = await http.get("/v1/client-config", headers={"app-id": "shop", "request-timeout": "0.2"})
        assert away.status_code in (503, 504)


@pytest.mark.parametrize("text", ["", "0", "-1", "1e3", "x", "99999", "nan"])
async def test_a_time_that_is_none(http: httpx.AsyncClient, text: str) -> None:
    refused = await http.get("/v1/client-config", headers={"app-id": "shop", "request-timeout": text})
    assert "number of seconds" in violations(refused)["request-timeout"]


def test_every_code_has_a_status_and_details_are_told_by_type() -> None:
    assert set(HTTP_STATUS) == set(grpc.StatusCode) - {grpc.StatusCode.OK}
    status = status_pb2.Status(code=14, message="Away.")
    for detail in (error_details_pb2.RetryInfo(retry_delay={"nanos": 1}), error_details_pb2.Help()):
        status.details.add().Pack(detail)
    trailers = grpc.aio.Metadata(("grpc-status-details-bin", status.SerializeToString()))
    refused = from_grpc(
        grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), trailers, details="Away.")
    )
    assert [detail["@type"].rpartition(".")[2] for detail in refused.details] == ["RetryInfo"]
    assert refused.headers["retry-after"] == "1"
    nothing = grpc.aio.Metadata()
    bare = grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, nothing, nothing, details="10.0.0.1")
    assert "10.0.0.1" not in from_grpc(bare).text()


def test_every_rpc_has_a_route_and_the_page_has_every_route() -> None:
    services = {route.descriptor.containing_service for route in ROUTES}
    methods = {f"{service.name}.{method.name}" for service in services for method in service.methods}
    assert {route.rpc for route in ROUTES} == methods
    page = (ROOT / "docs/gateway.md").read_text("utf-8")
    for route in ROUTES:
        assert f"| {route.method} | `/v1{route.path}` | {route.rpc}" in page
    signed = (ROOT / "docs/signed-in-users.md").read_text("utf-8")
    for route in ME_ROUTES:
        assert f"| {route.method} | `/v1{route.path}` |" in signed


def test_a_literal_segment_is_never_taken_for_an_id() -> None:
    assert find("POST", b"/messages:batch").route is not None
    at = find("POST", b"/messages/m1:cancel")
    assert at.route is not None
    assert (at.route.rpc, at.fields) == ("Notifier.CancelMessage", {"message_id": "m1"})
    assert find("GET", b"/devices/").route is not None
    assert find("GET", b"/devices//x").methods == ()


def test_json_has_every_number_and_flag() -> None:
    from bellhop_gateway.streaming import as_json

    assert as_json(reg.UnregisterDeviceResponse()) == {"existed": False}
    assert json.loads(json.dumps(as_json(reg.ListTagsResponse()))) == {"tags": [], "nextPageToken": ""}
