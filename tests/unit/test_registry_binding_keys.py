"""P4: a binding key is there exactly as long as the binding that it was given for."""

from typing import Any

import pytest

from bellhop_server.domain import MINUTE
from bellhop_server.domain.errors import QuotaExceeded
from bellhop_server.domain.quota import DEVICES_OF_A_USER
from tests.unit.registry_table import Registry

pytestmark = pytest.mark.promise("P4")


def bound(**binding: Any) -> Registry:
    """Ann's phone, which wants stamps."""
    registry = Registry()
    registry.register("phone", "ann", "t", sealed_binding_key=b"first", **binding)
    assert key(registry) == b"first"
    return registry


def key(registry: Registry, device: str = "phone") -> bytes | None:
    return registry.device(device).sealed_binding_key


def test_each_login_replaces_it_and_one_without_takes_it_away() -> None:
    registry = bound()
    before = registry.device("phone")
    registry.register("phone", "ann", sealed_binding_key=b"second")
    assert key(registry) == b"second"
    assert registry.device("phone").binding_epoch == before.binding_epoch
    registry.register("phone", "ann")
    assert key(registry) is None


def test_an_update_keeps_it_whatever_changes() -> None:
    registry = bound()
    secret = registry.fresh
    registry.update("phone", "u", locale="de")
    registry.update("phone", authority=False, secret=secret, set_attributes={"a": "b"})
    assert key(registry) == b"first"


def test_the_next_person_has_their_own_or_none() -> None:
    registry = bound()
    registry.register("phone", "bob", sealed_binding_key=b"bob's")
    assert key(registry) == b"bob's"
    registry.register("phone", "ann")
    assert key(registry) is None


def test_it_goes_with_the_logout() -> None:
    registry = bound()
    registry.unregister("phone")
    registry.register("phone", "ann", "t")
    assert key(registry) is None


def test_it_goes_with_whoever_goes_on_anonymously() -> None:
    registry = bound()
    registry.register("phone", None)
    assert key(registry) is None
    registry.register("tablet", None, "u", sealed_binding_key=b"of nobody")
    assert key(registry, "tablet") is None


def test_it_does_not_follow_the_token() -> None:
    registry = bound()
    registry.register("tablet", "bob", "t")
    assert registry.gone("phone")
    assert key(registry, "tablet") is None


def test_it_ends_with_the_binding_by_the_clock_and_when_that_is_written_down() -> None:
    registry = bound(binding_ttl=MINUTE)
    device = registry.device("phone")
    end = device.binding_expire_time
    assert end is not None
    assert device.as_of(end - 1).sealed_binding_key == b"first"
    assert device.as_of(end).sealed_binding_key is None
    registry.now = end
    registry.expire("phone")
    assert key(registry) is None


def test_what_is_refused_leaves_it() -> None:
    registry = Registry({"bob": DEVICES_OF_A_USER})
    registry.register("phone", "ann", "t", sealed_binding_key=b"first")
    registry.refuses(QuotaExceeded, lambda: registry.register("phone", "bob", sealed_binding_key=b"bob's"))
    assert key(registry) == b"first"
