"""What can be set, and where it is read from.

Every setting has one name: `BELLHOP_LISTEN` in the environment is `listen` in a TOML file. The environment wins.
"""

import difflib
import ipaddress
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

PREFIX = "BELLHOP_"

# Read by the command line alone. Known here, so that one environment may hold both.
COMMAND_LINE_NAMES = ("server", "app_id", "app_secret", "client_secret")

# Read by the gateway alone, in the environment or in a file that it shares with the server.
GATEWAY_NAMES = (
    "server",
    "server_ca",
    "gateway_listen",
    "gateway_proxies",
    "gateway_rate",
    "gateway_cors_origins",
    "app_id",
    "client_secret",
    "oidc_issuer",
    "oidc_audience",
)

LOG_LEVELS = ("debug", "info", "warning", "error")


class SettingsError(Exception):
    """A setting that cannot be used; the text names it and never shows a secret."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen: a host name or address without brackets, and a port; 0 lets the system choose one."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether nothing but this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `host:port`, `[::1]:port` or `:port`, which is loopback. Raises ValueError."""
        host, colon, port = text.strip().rpartition(":")
        if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise ValueError("is not host:port")
        if host.startswith("[") and host.endswith("]"):
            host = str(ipaddress.IPv6Address(host[1:-1]))
        elif ":" in host:
            raise ValueError("has an IPv6 address without brackets")
        return cls(host or "127.0.0.1", int(port))


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set. Without any of it `bellhop serve` works on this machine alone."""

    listen: Address = Address("127.0.0.1", 50051)
    """Where gRPC is served: `host:port`; port 0 lets the system choose one, which the log then names."""

    database_url: str = field(default="sqlite:///bellhop.db", repr=False)
    """`sqlite:///file`, relative to the working directory, or `postgresql://…`. Never shown: it may hold a password."""

    admin_token: str = field(default="", repr=False)
    """Opens the Applications service: 16 or more visible ASCII characters.

    Empty: kept in `bellhop.admin-token`, which is made on first start.
    """

    master_key: str = field(default="", repr=False)
    """Seals provider credentials: 32 bytes as base64; behind commas former ones, which only open.

    Empty, on SQLite: kept in `bellhop.key`, made on first start.
    """

    tls_cert: Path | None = None
    """PEM file of the server's certificate chain. Together with `tls_key` it turns TLS on."""

    tls_key: Path | None = None
    """PEM file of the certificate's private key."""

    tls_client_ca: Path | None = None
    """PEM file of the authorities that clients' certificates must come from (mutual TLS). It replaces no secret."""

    allow_plaintext: bool = False
    """Whether gRPC may be served without TLS on an address that other machines reach."""

    trusted_gateways: tuple[str, ...] = ()
    """Addresses or networks of gateways that are believed when they say for whom they call, separated by commas."""

    metrics_listen: Address | None = None
    """Where Prometheus metrics are served over HTTP. Unset: nowhere."""

    reflection: bool = True
    """Whether the server describes its own contract to tools such as grpcurl."""

    log_level: str = "info"
    """The least grave lines that are logged: debug, info, warning or error."""

    apns_url: str = ""
    """Where APNs production is, for simulators and proxies. Empty: Apple's own."""

    apns_sandbox_url: str = ""
    """Where APNs sandbox is. Empty: `apns_url` if that is set, else Apple's own."""

    fcm_url: str = ""
    """Where FCM is. Empty: Google's own."""

    fcm_token_url: str = ""
    """Where access tokens for FCM are asked for. Empty: Google's own."""

    fcm_rate: int = 10_000
    """Messages per second for one Firebase project that this server sends at most."""

    web_push_hosts: str = "known"
    """Which push services browsers may be subscribed at: entries separated by commas."""

    provider_ca: Path | None = None
    """PEM file of the only authorities that providers' certificates may come from. Unset: those of the system."""

    def __post_init__(self) -> None:
        """Raises SettingsError for settings that contradict each other."""
        if (self.tls_cert is None) != (self.tls_key is None):
            raise SettingsError("BELLHOP_TLS_CERT and BELLHOP_TLS_KEY go together: one of them is missing.")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise SettingsError("BELLHOP_TLS_CLIENT_CA needs BELLHOP_TLS_CERT and BELLHOP_TLS_KEY.")
        if self.tls_cert is None and not self.listen.loopback and not self.allow_plaintext:
            raise SettingsError(
                f"BELLHOP_LISTEN={self.listen} can be reached from other machines: set BELLHOP_TLS_CERT and "
                "BELLHOP_TLS_KEY, or BELLHOP_ALLOW_PLAINTEXT=true if something in front of it ends TLS."
            )


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and what to warn of."""

    settings: Settings
    warnings: tuple[str, ...] = ()


SETTING_NAMES = tuple(each.name for each in fields(Settings))


def load(environ: Mapping[str, str], config: Path | None = None) -> Loaded:
    """Reads `config` (TOML, flat keys), then the environment over it. An empty variable counts as unset.

    Raises SettingsError: a file that cannot be read, a key in it that is not known, a value that cannot be used.
    """
    values: dict[str, Any] = {}
    for name, value in (_read_file(config) if config is not None else {}).items():
        if name in GATEWAY_NAMES:
            continue
        if name not in SETTING_NAMES:
            raise SettingsError(f"{config}: {_unknown(name, SETTING_NAMES)}")
        values[name] = _convert(f"{config}: {name}", name, value)
    warnings = []
    for variable, text in sorted(environ.items()):
        if not variable.startswith(PREFIX):
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name in SETTING_NAMES and variable == variable_of(name):
            if text:
                values[name] = _convert(variable, name, text)
        elif variable not in map(variable_of, (*COMMAND_LINE_NAMES, *GATEWAY_NAMES)):
            known = [variable_of(each) for each in (*SETTING_NAMES, *COMMAND_LINE_NAMES, *GATEWAY_NAMES)]
            warnings.append(_unknown(variable, known))
    return Loaded(Settings(**values), tuple(warnings))


def variable_of(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def _read_file(config: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(config.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{config}: cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        # The error's own text may quote a line, and the line may hold a secret.
        raise SettingsError(f"{config}: is not TOML in UTF-8.") from None


def _unknown(name: str, known: list[str] | tuple[str, ...]) -> str:
    nearest = difflib.get_close_matches(name.lower(), [each.lower() for each in known], n=1, cutoff=0)
    meant = next(each for each in known if each.lower() == nearest[0])
    return f"{name} is not a setting. The nearest one is {meant}."


def _convert(where: str, name: str, value: object) -> Any:
    try:
        return _CONVERTERS.get(name, _text)(value)
    except ValueError as error:
        raise SettingsError(f"{where} {error}.") from None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("is not a text")  # noqa: TRY004 - one kind of error for every bad value
    return value


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    flags = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
    if not isinstance(value, str) or value.lower() not in flags:
        raise ValueError("is neither true nor false")
    return flags[value.lower()]


def _path(value: object) -> Path:
    return Path(_text(value))


def _address(value: object) -> Address:
    return Address.parse(_text(value))


def _level(value: object) -> str:
    level = _text(value).lower()
    if level not in LOG_LEVELS:
        raise ValueError(f"is none of {', '.join(LOG_LEVELS)}")
    return level


def _rate(value: object) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 1_000_000:
        raise ValueError("is not a whole number from 1 to 1000000")
    return value


def _networks(value: object) -> tuple[str, ...]:
    listed = value if isinstance(value, list) else _text(value).split(",")
    networks = tuple(_text(each).strip() for each in listed if _text(each).strip())
    for network in networks:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            raise ValueError("names something that is neither an address nor a network") from None
    return networks


def _url(value: object) -> str:
    text = _text(value)
    parts = urlsplit(text)
    if parts.scheme != "https" or not parts.hostname or "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("is not https://host or https://host:port with a path")
    return text


def _origin(value: object) -> str:
    text = _text(value).rstrip("/")
    parts = urlsplit(text)
    if parts.scheme != "https" or not parts.hostname or text != f"https://{parts.netloc}" or "@" in parts.netloc:
        raise ValueError("is not https://host or https://host:port")
    return text


_CONVERTERS = {
    "listen": _address,
    "tls_cert": _path,
    "tls_key": _path,
    "tls_client_ca": _path,
    "allow_plaintext": _flag,
    "trusted_gateways": _networks,
    "metrics_listen": _address,
    "reflection": _flag,
    "log_level": _level,
    "apns_url": _origin,
    "apns_sandbox_url": _origin,
    "fcm_url": _origin,
    "fcm_token_url": _url,
    "fcm_rate": _rate,
    "provider_ca": _path,
}
