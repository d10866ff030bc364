"""What each method takes for a credential, and how credentials are read from a call's metadata."""

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address, ip_network
from urllib.parse import unquote

from bellhop_server.app.authenticating import APP_ID, AUTHORIZATION, BIND_GRANT, KEYS, Access, DeviceSecret, Presented
from bellhop_server.domain.application import SecretKind
from bellhop_server.domain.errors import AuthAttemptsExceeded

_ADMIN = Access(admin=True)
_APP = Access((SecretKind.APP,))
_BINDING = (SecretKind.CLIENT, SecretKind.APP)
_ANY = (SecretKind.CLIENT, SecretKind.APP, SecretKind.DEVICE)

ACCESS: dict[str, Access] = {
    "/bellhop.v1.Applications/CreateApplication": _ADMIN,
    "/bellhop.v1.Applications/GetApplication": _ADMIN,
    "/bellhop.v1.Applications/ListApplications": _ADMIN,
    "/bellhop.v1.Applications/UpdateApplication": _ADMIN,
    "/bellhop.v1.Applications/DeleteApplication": _ADMIN,
    "/bellhop.v1.Applications/RotateSecret": _ADMIN,
    "/bellhop.v1.Applications/ListSecrets": _ADMIN,
    "/bellhop.v1.Applications/RevokeSecret": _ADMIN,
    "/bellhop.v1.Applications/SetCredential": _ADMIN,
    "/bellhop.v1.Applications/ListCredentials": _ADMIN,
    "/bellhop.v1.Applications/DeleteCredential": _ADMIN,
    "/bellhop.v1.PushRegistry/RegisterDevice": Access(_BINDING, device_secret=DeviceSecret.OWN, grant=True),
    "/bellhop.v1.PushRegistry/RegisterAnonymousDevice": Access(_ANY, optional=True, device_secret=DeviceSecret.OWN),
    "/bellhop.v1.PushRegistry/UnregisterDevice": Access(_ANY, device_secret=DeviceSecret.DEPARTED),
    "/bellhop.v1.PushRegistry/UnregisterUser": Access(_BINDING),
    "/bellhop.v1.PushRegistry/UpdateDevice": Access(_ANY),
    "/bellhop.v1.PushRegistry/GetDevice": Access(_ANY),
    "/bellhop.v1.PushRegistry/ListDevices": _APP,
    "/bellhop.v1.PushRegistry/CreateBindGrant": _APP,
    "/bellhop.v1.PushRegistry/GetClientConfig": Access(_ANY, optional=True),
    "/bellhop.v1.PushRegistry/CheckCredential": Access(_ANY, grant=True),
    "/bellhop.v1.PushRegistry/CreateTag": _APP,
    "/bellhop.v1.PushRegistry/GetTag": Access(_ANY),
    "/bellhop.v1.PushRegistry/ListTags": Access(_ANY),
    "/bellhop.v1.PushRegistry/UpdateTag": _APP,
    "/bellhop.v1.PushRegistry/DeleteTag": _APP,
    "/bellhop.v1.PushRegistry/Subscribe": Access(_ANY),
    "/bellhop.v1.PushRegistry/Unsubscribe": Access(_ANY),
    "/bellhop.v1.PushRegistry/ListSubscriptions": Access(_ANY),
    "/bellhop.v1.PushRegistry/ReportInteraction": Access(_ANY),
    "/bellhop.v1.Notifier/Send": _APP,
    "/bellhop.v1.Notifier/SendMany": _APP,
    "/bellhop.v1.Notifier/WatchMessage": _APP,
    "/bellhop.v1.Notifier/GetMessage": _APP,
    "/bellhop.v1.Notifier/ListMessages": _APP,
    "/bellhop.v1.Notifier/ListResults": _APP,
    "/bellhop.v1.Notifier/CancelMessage": _APP,
    "/bellhop.v1.Notifier/ExplainSend": _APP,
}

FORWARDED_FOR = "x-forwarded-for"

_KNOWN_KEYS = frozenset((APP_ID, AUTHORIZATION, BIND_GRANT, *KEYS.values()))


def presented(metadata: Iterable[tuple[str, str | bytes]]) -> Presented:
    """The credentials in a call's metadata; an empty one counts as none. Of a key that came twice the first is told."""
    found: dict[str, str] = {}
    twice = False
    for key, value in metadata:
        if key in _KNOWN_KEYS:
            twice = twice or key in found
            found.setdefault(key, value if isinstance(value, str) else value.decode("latin-1"))
    bearer = _bearer(found.get(AUTHORIZATION, ""))
    return Presented(
        app_id=found.get(APP_ID, ""),
        secrets={kind: found[key] for kind, key in KEYS.items() if found.get(key)},
        bearer=bearer or "",
        bind_grant=found.get(BIND_GRANT, ""),
        malformed=twice or bearer is None,
    )


def _bearer(authorization: str) -> str | None:
    """RFC 6750 section 2.1; the scheme's case does not matter (RFC 9110 section 11.1). None: of another scheme."""
    scheme, _, token = authorization.strip().partition(" ")
    if scheme and scheme.lower() != "bearer":
        return None
    return token.strip()


def address_of(peer: str) -> str:
    """The peer's address without its port, from gRPC's word for it (`ipv4:192.0.2.1:4711`, `ipv6:%5B::1%5D:4711`)."""
    scheme, _, rest = peer.partition(":")
    return unquote(rest).rpartition(":")[0] if scheme in ("ipv4", "ipv6") else scheme


class Gateways:
    """Peers that are believed when they say for whom they call: those in some networks, and this process itself."""

    def __init__(self, networks: Sequence[str]) -> None:
        """Raises ValueError for what is not an address or a network."""
        self._networks = [ip_network(each) for each in networks]

    def client(self, peer: str, metadata: Iterable[tuple[str, str | bytes]]) -> str:
        """The address that a call comes from: the last one that a gateway names, else the peer's."""
        address = address_of(peer)
        if not self._believed(address):
            return address
        named = [str(value).rpartition(",")[2].strip() for key, value in metadata if key == FORWARDED_FOR]
        try:
            return str(ip_address(named[-1])) if named else address
        except ValueError:
            return address

    def _believed(self, address: str) -> bool:
        if address == "unix":
            # A socket that only this process's own user can open.
            return True
        try:
            known = ip_address(address.strip("[]"))
        except ValueError:
            return False
        return any(known in network for network in self._networks)


class WrongAttempts:
    """Counts failed credentials by peer and application, so that guessing is slow.

    Only a failure is ever refused: whoever shows a valid credential has not been counted here.
    """

    SECONDS = 60.0
    REMEMBERED = 10_000

    def __init__(self, allowed: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._allowed = allowed
        self._monotonic = monotonic
        self._failures: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()

    def failed(self, peer: str, app_id: str) -> None:
        """Notes one more. Raises AuthAttemptsExceeded beyond what is allowed within a minute."""
        now = self._monotonic()
        key = (peer, app_id[:64])
        failures = self._failures.setdefault(key, deque())
        self._failures.move_to_end(key)
        while len(self._failures) > self.REMEMBERED:
            self._failures.popitem(last=False)
        while failures and failures[0] <= now - self.SECONDS:
            failures.popleft()
        if len(failures) >= self._allowed:
            raise AuthAttemptsExceeded(failures[0] + self.SECONDS - now)
        failures.append(now)
