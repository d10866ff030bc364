"""The Applications service over the wire."""

import re

import grpc
import pytest

from bellhop.v1 import applications_pb2 as apps
from bellhop.v1 import push_registry_pb2 as reg
from bellhop_server.domain.application import ProbeResult
from tests.system.live_server import Live, Shop, as_admin, credentials, details, p8, refusal, told

ADMIN = as_admin()


async def test_an_application_is_made_with_two_secrets_that_work(live: Live) -> None:
    request = apps.CreateApplicationRequest(app_id="shop", display_name="Shop ☂")
    made = await live.applications.CreateApplication(request, metadata=ADMIN)
    assert re.fullmatch(r"bhc_[A-Za-z0-9_-]{43}", made.client_secret)
    assert re.fullmatch(r"bha_[A-Za-z0-9_-]{43}", made.app_secret)
    assert made.application.policy.anonymous_policy == apps.ANONYMOUS_POLICY_OPEN
    both = credentials("shop", client_secret=made.client_secret, app_secret=made.app_secret)
    checked = await live.registry.CheckCredential(reg.CheckCredentialRequest(), metadata=both)
    assert checked.app_id == "shop"
    assert list(checked.kinds) == [reg.CREDENTIAL_KIND_CLIENT_SECRET, reg.CREDENTIAL_KIND_APP_SECRET]
    assert not checked.HasField("expire_time")
    got = await live.applications.GetApplication(apps.GetApplicationRequest(app_id="shop"), metadata=ADMIN)
    assert got.application == made.application


async def test_an_id_is_made_up_when_none_is_given(live: Live) -> None:
    request = apps.CreateApplicationRequest(display_name="Shop")
    ids = {(await live.applications.CreateApplication(request, metadata=ADMIN)).application.app_id for _ in range(2)}
    assert len(ids) == 2
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", each) for each in ids)


async def test_a_taken_id_is_told(live: Live, shop: Shop) -> None:
    request = apps.CreateApplicationRequest(app_id="shop", display_name="Another")
    error = await refusal(live.applications.CreateApplication(request, metadata=ADMIN))
    assert told(error) == (grpc.StatusCode.ALREADY_EXISTS, "APPLICATION_ALREADY_EXISTS", {"app_id": "shop"})


async def test_changes_are_of_what_is_present(live: Live, shop: Shop) -> None:
    update, off = live.applications.UpdateApplication, apps.ANONYMOUS_POLICY_OFF
    policy = apps.ApplicationPolicy(anonymous_policy=off)
    await update(apps.UpdateApplicationRequest(app_id="shop", policy=policy), metadata=ADMIN)
    renamed = await update(apps.UpdateApplicationRequest(app_id="shop", display_name="New"), metadata=ADMIN)
    assert (renamed.application.display_name, renamed.application.policy.anonymous_policy) == ("New", off)
    same = await update(apps.UpdateApplicationRequest(app_id="shop"), metadata=ADMIN)
    assert same.application == renamed.application
    whole = apps.UpdateApplicationRequest(app_id="shop", policy=apps.ApplicationPolicy())
    reset = await update(whole, metadata=ADMIN)
    assert reset.application.policy.anonymous_policy == apps.ANONYMOUS_POLICY_OPEN


async def test_applications_are_listed_by_id_page_by_page(live: Live) -> None:
    for name in ("b", "a", "c"):
        await live.shop(name)
    seen, token = [], ""
    while True:
        request = apps.ListApplicationsRequest(page_size=2, page_token=token)
        page = await live.applications.ListApplications(request, metadata=ADMIN)
        seen += [each.app_id for each in page.applications]
        token = page.next_page_token
        if not token:
            break
    assert seen == ["a", "b", "c"]


async def test_what_is_deleted_is_gone_with_its_secrets(live: Live, shop: Shop) -> None:
    await live.credential(shop)
    request = apps.DeleteApplicationRequest(app_id="shop")
    assert (await live.applications.DeleteApplication(request, metadata=ADMIN)).existed
    assert ("shop", "apns") in live.provider.forgotten
    assert not (await live.applications.DeleteApplication(request, metadata=ADMIN)).existed
    error = await refusal(live.registry.CheckCredential(reg.CheckCredentialRequest(), metadata=shop.client))
    assert told(error)[1] == "CREDENTIALS_INVALID"
    error = await refusal(live.registry.RegisterAnonymousDevice(anonymous(), metadata=credentials("shop")))
    assert told(error)[1] == "CREDENTIALS_INVALID"


def anonymous() -> reg.RegisterAnonymousDeviceRequest:
    return reg.RegisterAnonymousDeviceRequest(apns={"token": "ab"})


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("GetApplication", apps.GetApplicationRequest(app_id="nobody")),
        ("UpdateApplication", apps.UpdateApplicationRequest(app_id="nobody", display_name="x")),
        ("UpdateApplication", apps.UpdateApplicationRequest(app_id="nobody")),
        ("RotateSecret", apps.RotateSecretRequest(app_id="nobody", kind=apps.SECRET_KIND_APP)),
        ("ListSecrets", apps.ListSecretsRequest(app_id="nobody")),
        ("RevokeSecret", apps.RevokeSecretRequest(app_id="nobody", secret_id="s")),
        ("ListCredentials", apps.ListCredentialsRequest(app_id="nobody")),
        ("DeleteCredential", apps.DeleteCredentialRequest(app_id="nobody", credential_id="apns")),
    ],
)
async def test_an_unknown_application_is_told_to_the_admin(live: Live, method: str, request_: object) -> None:
    error = await refusal(getattr(live.applications, method)(request_, metadata=ADMIN))
    assert told(error) == (grpc.StatusCode.NOT_FOUND, "APPLICATION_NOT_FOUND", {"app_id": "nobody"})


async def test_rotation_with_an_overlap_keeps_the_old_one_for_a_while(live: Live, shop: Shop) -> None:
    request = apps.RotateSecretRequest(app_id="shop", kind=apps.SECRET_KIND_CLIENT, overlap={"seconds": 3600})
    rotated = await live.applications.RotateSecret(request, metadata=ADMIN)
    assert rotated.secret.endswith(rotated.description.hint)
    assert len(rotated.description.hint) == 4
    check = live.registry.CheckCredential
    old = await check(reg.CheckCredentialRequest(), metadata=shop.client)
    assert old.HasField("expire_time")
    new = await check(reg.CheckCredentialRequest(), metadata=credentials("shop", client_secret=rotated.secret))
    assert not new.HasField("expire_time")


async def test_secrets_are_listed_without_themselves(live: Live, shop: Shop) -> None:
    listed = await live.applications.ListSecrets(apps.ListSecretsRequest(app_id="shop"), metadata=ADMIN)
    assert {each.kind for each in listed.secrets} == {apps.SECRET_KIND_CLIENT, apps.SECRET_KIND_APP}
    assert {each.hint for each in listed.secrets} == {shop.client_secret[-4:], shop.app_secret[-4:]}
    first = await live.applications.ListSecrets(apps.ListSecretsRequest(app_id="shop", page_size=1), metadata=ADMIN)
    request = apps.ListSecretsRequest(app_id="shop", page_token=first.next_page_token)
    rest = await live.applications.ListSecrets(request, metadata=ADMIN)
    assert [*first.secrets, *rest.secrets] == list(listed.secrets)
    stranger = apps.ListSecretsRequest(app_id="other", page_token=first.next_page_token)
    assert told(await refusal(live.applications.ListSecrets(stranger, metadata=ADMIN)))[1] == "PAGE_TOKEN_INVALID"


async def test_a_revoked_secret_ends_at_once_and_stays_as_it_is(live: Live, shop: Shop) -> None:
    listed = await live.applications.ListSecrets(apps.ListSecretsRequest(app_id="shop"), metadata=ADMIN)
    client = next(each for each in listed.secrets if each.kind == apps.SECRET_KIND_CLIENT)
    request = apps.RevokeSecretRequest(app_id="shop", secret_id=client.secret_id)
    revoked = await live.applications.RevokeSecret(request, metadata=ADMIN)
    assert revoked.secret.HasField("expire_time")
    error = await refusal(live.registry.CheckCredential(reg.CheckCredentialRequest(), metadata=shop.client))
    assert told(error)[1] == "CREDENTIALS_INVALID"
    assert await live.applications.RevokeSecret(request, metadata=ADMIN) == revoked
    unknown = apps.RevokeSecretRequest(app_id="shop", secret_id="s1")
    error = await refusal(live.applications.RevokeSecret(unknown, metadata=ADMIN))
    assert told(error) == (grpc.StatusCode.NOT_FOUND, "SECRET_NOT_FOUND", {"secret_id": "s1"})


async def test_live_secrets_have_a_quota(live: Live, shop: Shop) -> None:
    request = apps.RotateSecretRequest(app_id="shop", kind=apps.SECRET_KIND_APP, overlap={"seconds": 3600})
    for _ in range(9):
        await live.applications.RotateSecret(request, metadata=ADMIN)
    error = await refusal(live.applications.RotateSecret(request, metadata=ADMIN))
    assert told(error) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED", {"limit": "secrets", "value": "10"})
    assert "RetryInfo" not in details(error)
    request = apps.RotateSecretRequest(app_id="shop", kind=apps.SECRET_KIND_APP)
    await live.applications.RotateSecret(request, metadata=ADMIN)


def credential(key: str | None = None, **changes: object) -> apps.SetCredentialRequest:
    apns = {"key": {"key_id": "ABCDE12345", "team_id": "FGHIJ12345", "p8": key or p8()}, "topics": ["com.x", "com.y"]}
    return apps.SetCredentialRequest(**{"app_id": "shop", "apns": apns, **changes})


async def test_a_credential_is_tried_and_kept_and_shown_without_its_key(live: Live, shop: Shop) -> None:
    live.provider.probe_result = ProbeResult(True, "", 5)
    stored = (await live.applications.SetCredential(credential(), metadata=ADMIN)).credential
    assert (stored.credential_id, stored.apns.key_id, stored.apns.team_id) == ("apns", "ABCDE12345", "FGHIJ12345")
    assert list(stored.apns.topics) == ["com.x", "com.y"]
    assert (stored.probe.ok, stored.probe.probe_time.ToMicroseconds()) == (True, 5)
    listed = await live.applications.ListCredentials(apps.ListCredentialsRequest(app_id="shop"), metadata=ADMIN)
    assert list(listed.credentials) == [stored]
    await live.applications.SetCredential(credential(credential_id="second"), metadata=ADMIN)
    page = apps.ListCredentialsRequest(app_id="shop", page_size=1)
    first = await live.applications.ListCredentials(page, metadata=ADMIN)
    page = apps.ListCredentialsRequest(app_id="shop", page_token=first.next_page_token)
    rest = await live.applications.ListCredentials(page, metadata=ADMIN)
    ids = [each.credential_id for each in (*first.credentials, *rest.credentials)]
    assert (ids, rest.next_page_token) == (["apns", "second"], "")


async def test_a_refused_credential_leaves_the_old_one(live: Live, shop: Shop) -> None:
    await live.applications.SetCredential(credential(), metadata=ADMIN)
    live.provider.probe_result = ProbeResult(False, "InvalidProviderToken", 5)
    live.provider.forgotten.clear()
    another = credential()
    another.apns.key.key_id = "ZZZZZ12345"
    error = await refusal(live.applications.SetCredential(another, metadata=ADMIN))
    metadata = {"platform": "apns", "provider_reason": "InvalidProviderToken"}
    assert told(error) == (grpc.StatusCode.FAILED_PRECONDITION, "CREDENTIAL_REFUSED", metadata)
    listed = await live.applications.ListCredentials(apps.ListCredentialsRequest(app_id="shop"), metadata=ADMIN)
    assert [each.apns.key_id for each in listed.credentials] == ["ABCDE12345"]
    assert live.provider.forgotten == []


async def test_a_provider_that_is_away_says_nothing_about_a_credential(live: Live, shop: Shop) -> None:
    live.provider.probe_result = ProbeResult(False, "ConnectTimeout", 5, reached=False)
    stored = (await live.applications.SetCredential(credential(), metadata=ADMIN)).credential
    assert (stored.probe.ok, stored.probe.reason) == (False, "ConnectTimeout")
    await live.applications.SetCredential(credential(), metadata=ADMIN)
    assert live.provider.forgotten == [("shop", "apns")]


async def test_a_credential_can_be_tried_without_keeping_it(live: Live, shop: Shop) -> None:
    tried = await live.applications.SetCredential(credential(validate_only=True), metadata=ADMIN)
    assert tried.credential.probe.ok
    listed = await live.applications.ListCredentials(apps.ListCredentialsRequest(app_id="shop"), metadata=ADMIN)
    assert list(listed.credentials) == []


@pytest.mark.parametrize("key", ["garbage", p8()[:-40], "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"])
async def test_a_key_that_is_none_is_told_by_its_field(live: Live, shop: Shop, key: str) -> None:
    error = await refusal(live.applications.SetCredential(credential(key), metadata=ADMIN))
    (violation,) = details(error)["BadRequest"].field_violations
    assert violation.field == "apns.key.p8"
    assert key not in str(details(error))


async def test_a_credential_for_nobody_is_not_tried(live: Live) -> None:
    error = await refusal(live.applications.SetCredential(credential(), metadata=ADMIN))
    assert told(error)[1] == "APPLICATION_NOT_FOUND"


async def test_a_deleted_credential_is_gone(live: Live, shop: Shop) -> None:
    await live.credential(shop)
    request = apps.DeleteCredentialRequest(app_id="shop", credential_id="apns")
    assert (await live.applications.DeleteCredential(request, metadata=ADMIN)).existed
    assert ("shop", "apns") in live.provider.forgotten
    assert not (await live.applications.DeleteCredential(request, metadata=ADMIN)).existed


async def test_all_that_is_wrong_is_told_at_once(live: Live) -> None:
    request = apps.SetCredentialRequest(app_id="Shop", credential_id="?", apns={"key": {}, "environments": [7]})
    error = await refusal(live.applications.SetCredential(request, metadata=ADMIN))
    assert [each.field for each in details(error)["BadRequest"].field_violations] == [
        "app_id",
        "credential_id",
        "apns.key.key_id",
        "apns.key.team_id",
        "apns.key.p8",
        "apns.topics",
        "apns.environments[0]",
    ]
