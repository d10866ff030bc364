"""Which push services this server may call.

An endpoint is a URL that a stranger names. Without a limit anybody could have this server ask any host in its network,
so a host has to be one that the operator has named; where its name leads is judged at each connection
(`providers.addresses`).
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import NamedTuple, Self

LARGEST_URL = 2048

KNOWN = (
    "fcm.googleapis.com",
    "android.googleapis.com",
    "updates.push.services.mozilla.com",
    "*.push.apple.com",
    "*.notify.windows.com",
)

_HTTPS = 443
_SCHEME = "https://"
_PRIVATE = "private:"
_LARGEST_HOST = 253
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
# To whoever reads a name as an address a last part that is a number is enough (WHATWG URL, "ends in a number").
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_AUTHORITY_END = re.compile(r"[/?]")
# They mean something else in each network, or nothing anywhere (RFC 6761, 6762, 7686, 8375, 9476; .internal by ICANN).
_LOCAL_NAMES = (
    ".alt",
    ".arpa",
    ".example",
    ".internal",
    ".invalid",
    ".lan",
    ".local",
    ".localdomain",
    ".localhost",
    ".onion",
    ".test",
)
# Chromium hands it out for a subscription that is over.
_REMOVED = "permanently-removed.invalid"
_CACHED = 1024

Place = tuple[str, int]
"""A host, lower case and without brackets, and a port."""


class Endpoint(NamedTuple):
    """`authority` is what the host is called in requests, `path` the rest of the URL as it was given, query and all."""

    host: str
    port: int
    authority: str
    path: str

    @property
    def origin(self) -> str:
        """As a browser tells it (RFC 6454)."""
        return _SCHEME + self.authority


class Hosts:
    """The push services of one setting."""

    def __init__(
        self, *, places: Iterable[Place], suffixes: Iterable[str], public: bool, private: Iterable[Place]
    ) -> None:
        """`suffixes` begin with a dot; `public`: any other host that is one on the Internet. See `parse`."""
        self._places = frozenset(places) | frozenset(private)
        self._suffixes = tuple(suffixes)
        self._public = public
        self.private = frozenset(private)
        """Those whose addresses may be private."""
        self._known: dict[str, Endpoint | str] = {}

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads entries separated by commas: `known`, `host`, `*.suffix`, `host:port`, `*`, `private:host:port`, and a
        private address or `localhost` with its port. Raises ValueError, with a text for the operator.
        """
        places: set[Place] = set()
        private: set[Place] = set()
        suffixes: set[str] = set()
        entries = [entry.strip() for entry in text.split(",")]
        public = "*" in entries
        for entry in _spread(entries):
            if entry.startswith("*."):
                suffixes.add(_suffix(entry))
            elif entry.startswith(_PRIVATE):
                private.add(_place(entry.removeprefix(_PRIVATE), entry, port_needed=True))
            else:
                place = _place(entry, entry, port_needed=_is_own_mark(entry))
                (private if _is_own_mark(entry) else places).add(place)
        return cls(places=places, suffixes=suffixes, public=public, private=private)

    def check(self, url: str) -> Endpoint | str:
        """Where an endpoint is, or in words why it may not be called. Asks nobody, also not where its name leads."""
        if len(url) > LARGEST_URL:
            return f"has more than {LARGEST_URL} characters"
        if url[: len(_SCHEME)].lower() != _SCHEME:
            return "is not an https URL"
        if not url.isprintable() or " " in url or "\\" in url:
            return "holds a space, a backslash or a control character"
        if "#" in url:
            return "has a fragment"
        end = _AUTHORITY_END.search(url, len(_SCHEME))
        authority = url[len(_SCHEME) : end.start() if end else None]
        path = url[end.start() :] if end else "/"
        if not path.isascii():
            return "holds characters other than ASCII"
        found = self._known.get(authority)
        if found is None:
            if len(self._known) >= _CACHED:
                self._known.clear()
            found = self._known[authority] = self._judge(authority)
        if isinstance(found, str):
            return found
        return Endpoint(found.host, found.port, found.authority, path if path[0] == "/" else f"/{path}")

    def named(self, endpoint: Endpoint) -> bool:
        """Whether the operator has named the host, or the end of its name, rather than let in any public one."""
        return (endpoint.host, endpoint.port) in self._places or endpoint.host.endswith(self._suffixes)

    def _judge(self, authority: str) -> Endpoint | str:
        if "@" in authority:
            return "names a user"
        try:
            host, port = _split(authority)
            host = _normal(host)
        except ValueError as error:
            return str(error)
        if host == _REMOVED:
            return "is of a subscription that the browser has removed"
        port = _HTTPS if port is None else port
        if (host, port) not in self._places:
            if _is_address(host):
                return "has an IP address for a host"
            if port != _HTTPS:
                return "has a port that this server may not call"
            if not (host.endswith(self._suffixes) or (self._public and _may_be_public(host))):
                return "is not at a push service that this server may call"
        shown = f"[{host}]" if ":" in host else host
        return Endpoint(host, port, shown if port == _HTTPS else f"{shown}:{port}", "")


def _spread(entries: Iterable[str]) -> Iterable[str]:
    """The entries but `*`, with `known` written out."""
    for entry in entries:
        if not entry:
            raise ValueError("has an empty entry")
        if entry == "known":
            yield from KNOWN
        elif entry != "*":
            yield entry


def _suffix(entry: str) -> str:
    name = entry.removeprefix("*.")
    try:
        host, port = _split(name)
        host = _normal(host)
    except ValueError as error:
        raise ValueError(f"{entry} {error}") from None
    if port is not None or _is_address(host):
        raise ValueError(f"{entry} is not * and the end of a name")
    if "." not in host:
        raise ValueError(f"{entry} is all of a top-level domain; for any public host say *")
    return f".{host}"


def _place(text: str, entry: str, *, port_needed: bool) -> Place:
    try:
        host, port = _split(text)
        host = _normal(host)
    except ValueError as error:
        raise ValueError(f"{entry} {error}") from None
    if port is None and (port_needed or _is_address(host)):
        raise ValueError(f"{entry} needs a port: {text}:8443")
    return host, _HTTPS if port is None else port


def _is_own_mark(entry: str) -> bool:
    """Whether it can be meant for nothing but this machine, or says itself that it is private."""
    host = entry[1:].partition("]")[0] if entry.startswith("[") else entry.partition(":")[0]
    if host.lower() == "localhost":
        return True
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return False


def _split(authority: str) -> tuple[str, int | None]:
    """Host and port; an IPv6 address keeps its brackets. Raises ValueError."""
    host, colon, port = authority, "", ""
    if authority.startswith("["):
        host, closed, rest = authority.partition("]")
        host, colon, port = f"{host}]", rest[:1], rest[1:]
        if not closed or colon not in ("", ":") or "%" in host:
            raise ValueError("has no readable host")
    elif ":" in authority:
        host, colon, port = authority.partition(":")
    if colon and not (_PORT.fullmatch(port) and int(port) < 1 << 16):
        raise ValueError("has no readable port")
    return host, int(port) if colon else None


def _normal(host: str) -> str:
    """A host in the one form it is compared and called in: in ASCII (IDNA), lower case, an address as short as can be.

    Raises ValueError.
    """
    if host.startswith("["):
        try:
            return ipaddress.IPv6Address(host[1:-1]).compressed
        except ValueError:
            raise ValueError("has no readable host") from None
    try:
        name = host.encode("idna").decode().lower()
    except UnicodeError:
        raise ValueError("has no readable host") from None
    labels = name.split(".")
    if len(name) > _LARGEST_HOST or not all(map(_LABEL.fullmatch, labels)):
        # The dot at the end of a name is legal, and one more way to write it that nobody needs.
        raise ValueError("has no readable host")
    if _NUMBER.fullmatch(labels[-1]):
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError:
            raise ValueError("has no readable host") from None
    return name


def _is_address(host: str) -> bool:
    return ":" in host or host.rpartition(".")[2].isdigit()


def _may_be_public(host: str) -> bool:
    return "." in host and not host.endswith(_LOCAL_NAMES)
