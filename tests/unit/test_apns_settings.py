"""Where APNs is."""

import pytest

from bellhop_server.domain.device import ApnsEnvironment
from bellhop_server.providers.apns.settings import ApnsSettings
from bellhop_server.providers.origin import Origin

PRODUCTION, SANDBOX = ApnsEnvironment.PRODUCTION, ApnsEnvironment.SANDBOX


def test_apple_is_where_apple_says() -> None:
    settings = ApnsSettings()
    assert settings.origin(PRODUCTION) == Origin("api.push.apple.com", 443, "api.push.apple.com")
    assert settings.origin(SANDBOX) == Origin("api.sandbox.push.apple.com", 443, "api.sandbox.push.apple.com")


def test_a_sandbox_without_its_own_url_is_where_production_is() -> None:
    settings = ApnsSettings("https://localhost:2197")
    assert settings.origin(SANDBOX) == settings.origin(PRODUCTION) == Origin("localhost", 2197, "localhost:2197")
    assert ApnsSettings("", "https://localhost:1").origin(PRODUCTION).host == "api.push.apple.com"


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://api.push.apple.com:2197", Origin("api.push.apple.com", 2197, "api.push.apple.com:2197")),
        ("https://[::1]:1", Origin("::1", 1, "[::1]:1")),
        ("https://[::1]/", Origin("::1", 443, "[::1]")),
    ],
)
def test_urls(url: str, origin: Origin) -> None:
    assert ApnsSettings(url).production == origin


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost",
        "localhost:443",
        "https://",
        "https://:443",
        "https://localhost:port",
        "https://localhost:70000",
        "https://localhost/3/device",
        "https://localhost?x",
        "https://user:sesame@localhost",
        "https://[::1",
    ],
)
def test_what_is_no_url_of_apns(url: str) -> None:
    with pytest.raises(ValueError, match="URL of APNs production") as raised:
        ApnsSettings(url)
    assert "sesame" not in str(raised.value)
    with pytest.raises(ValueError, match="URL of APNs sandbox"):
        ApnsSettings("", url)
