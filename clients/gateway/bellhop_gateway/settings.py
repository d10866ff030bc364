"""What of the gateway can be set. One file, and one environment, may hold these and the server's settings."""

import ipaddress
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

PREFIX = "BELLHOP_"


class GatewaySettingsError(Exception):
    """A setting that cannot be used; the text names it and never shows a secret."""


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """Everything that can be set. Without any of it the gateway works on this machine alone, and signs nobody in."""

    gateway_listen: str = "127.0.0.1:8080"
    """Where HTTP is served: `host:port`; port 0 lets the system choose one."""

    server: str = "127.0.0.1:50051"
    """The Bellhop server: `host:port`, `http://host:port` or `https://host:port`."""

    server_ca: Path | None = None
    """PEM file of the authorities that the server's certificate may come from. Unset: those that gRPC brings along."""

    allow_plaintext: bool = False
    """Whether HTTP may be served without TLS on an address that other machines reach."""

    gateway_proxies: str = ""
    """Addresses or networks of proxies in front whose `X-Forwarded-For` names the client, separated by commas."""

    gateway_rate: int = 50
    """Requests a second of one client address, twice as many at once."""

    gateway_cors_origins: str = ""
    """Origins whose pages may call the gateway, separated by commas."""

    app_id: str = ""
    """The application of signed-in users."""

    client_secret: str = field(default="", repr=False)
    """Its client secret, which binds signed-in users' devices."""

    oidc_issuer: str = ""
    """The OpenID provider whose tokens sign users in; empty: nobody is."""

    oidc_audience: str = ""
    """What tokens must be meant for: the client id at the OpenID provider."""

    def __post_init__(self) -> None:
        """Raises GatewaySettingsError for settings that contradict each other."""
        together = {"oidc_issuer": self.oidc_issuer, "oidc_audience": self.oidc_audience}
        if any(together.values()):
            together |= {"app_id": self.app_id, "client_secret": self.client_secret}
            missing = [variable_of(name) for name, value in together.items() if not value]
            if missing:
                raise GatewaySettingsError(f"Signed-in users need {' and '.join(missing)}, too.")
        host, _ = self.listen
        if not _is_loopback(host) and not self.allow_plaintext:
            raise GatewaySettingsError(
                f"BELLHOP_GATEWAY_LISTEN={self.gateway_listen} can be reached from other machines: put something in "
                "front of it that ends TLS, and set BELLHOP_ALLOW_PLAINTEXT=true."
            )

    @property
    def listen(self) -> tuple[str, int]:
        """Host without brackets, and port."""
        host, _, port = self.gateway_listen.rpartition(":")
        return host.strip("[]") or "127.0.0.1", int(port)

    @property
    def cors_origins(self) -> tuple[str, ...]:
        """One by one."""
        return _listed(self.gateway_cors_origins)

    @property
    def proxies(self) -> tuple[str, ...]:
        """One by one."""
        return _listed(self.gateway_proxies)

    @property
    def signs_in(self) -> bool:
        """Whether there are signed-in users."""
        return bool(self.oidc_issuer)


GATEWAY_SETTING_NAMES = tuple(each.name for each in fields(GatewaySettings))


def load_gateway_settings(environ: Mapping[str, str], config: Path | None = None) -> GatewaySettings:
    """Reads `config` (TOML, flat keys), then the environment over it. An empty variable counts as unset.

    What is not the gateway's is left alone: it may be the server's. Raises GatewaySettingsError.
    """
    values: dict[str, Any] = {}
    found = _read_file(config) if config is not None else {}
    found |= {name: text for name in GATEWAY_SETTING_NAMES if (text := environ.get(variable_of(name), ""))}
    for name in GATEWAY_SETTING_NAMES:
        if name in found:
            try:
                values[name] = _CONVERTERS.get(name, _text)(found[name])
            except ValueError as error:
                raise GatewaySettingsError(f"{variable_of(name)} {error}.") from None
    return GatewaySettings(**values)


def variable_of(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def _read_file(config: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(config.read_text(encoding="utf-8"))
    except OSError as error:
        raise GatewaySettingsError(f"{config}: cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        # The error's own text may quote a line, and the line may hold a secret.
        raise GatewaySettingsError(f"{config}: is not TOML in UTF-8.") from None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("is not a text")  # noqa: TRY004 - one kind of error for every bad value
    return value


def _listen(value: object) -> str:
    text = _text(value).strip()
    _, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("is not host:port")
    return text


def _path(value: object) -> Path:
    return Path(_text(value))


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    flags = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
    if not isinstance(value, str) or value.lower() not in flags:
        raise ValueError("is neither true nor false")
    return flags[value.lower()]


def _rate(value: object) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 1_000_000:
        raise ValueError("is not a whole number from 1 to 1000000")
    return value


def _origins(value: object) -> str:
    for origin in _listed(_text(value)):
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or not parts.netloc or origin != f"{parts.scheme}://{parts.netloc}":
            raise ValueError("names something that is not an origin such as https://app.example")
    return _text(value)


def _networks(value: object) -> str:
    for network in _listed(_text(value)):
        ipaddress.ip_network(network)
    return _text(value)


def _issuer(value: object) -> str:
    text = _text(value)
    parts = urlsplit(text)
    local = _is_loopback(parts.hostname or "")
    if not parts.hostname or parts.query or parts.fragment or parts.scheme not in ("https", *(["http"] * local)):
        raise ValueError("is not an https URL")
    return text


def _listed(text: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in text.split(",") if each.strip())


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


_CONVERTERS = {
    "gateway_listen": _listen,
    "server_ca": _path,
    "allow_plaintext": _flag,
    "gateway_proxies": _networks,
    "gateway_rate": _rate,
    "gateway_cors_origins": _origins,
    "oidc_issuer": _issuer,
}
