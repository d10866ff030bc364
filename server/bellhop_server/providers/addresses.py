"""Where a stranger's host may be: at public addresses alone.

Whoever registers a device may name any host as its push service. A name that leads into the operator's own network, or
to the machine itself, would make this server ask there on a stranger's behalf (server-side request forgery). So each
connection goes to an address that was looked up and judged for it, and to no other: what the name means a moment later
(DNS rebinding) does not count.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""From a host and a port to the addresses to be tried in order. Raises Blocked, or OSError where there are none."""

Lookup = Callable[..., Sequence[tuple[Any, ...]]]
"""As `socket.getaddrinfo`."""

# IANA's registry of special-purpose IPv4 addresses, and what is not for one host.
_NOT_PUBLIC = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",  # Shared by the customers of a provider; some clouds keep services there.
            "127.0.0.0/8",
            "168.63.129.16/32",  # Looks public, but is the host of a virtual machine of Azure.
            "169.254.0.0/16",  # With the metadata services of most clouds.
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
        ),
    )
)
# All of IPv6 that is given to hosts of the Internet, and what in it is not for them. What lies outside is loopback,
# private, of one link, multicast, or an IPv4 address in disguise.
_PUBLIC_6 = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC_6 = tuple(
    map(
        ipaddress.IPv6Network,
        (
            "2001::/23",  # Protocols; with Teredo, that hides an IPv4 address.
            "2001:db8::/32",
            "2002::/16",  # 6to4, that hides one too.
            "3fff::/20",
        ),
    )
)
# How a network without IPv4 reaches it (RFC 6052); its name servers make these up for most of the Internet.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

# Look-ups at a time: a stranger's name server may answer none, and hold each for half a minute.
_THREADS = 16


class Blocked(Exception):
    """A name leads to an address that is not public. Its text is for the log."""


def is_public(address: str) -> bool:
    """Whether this is the address of one host on the Internet. An address with a scope never is."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.scope_id is not None:
            return False
        if parsed not in _NAT64:
            return parsed in _PUBLIC_6 and not any(parsed in network for network in _NOT_PUBLIC_6)
        parsed = ipaddress.IPv4Address(parsed.packed[-4:])
    return not any(parsed in network for network in _NOT_PUBLIC)


class Addresses:
    """Looks names up, and refuses those with any address that is not public.

    `allowed`: hosts, in lower case, and ports that may be anywhere, because the operator says so. The names of
    strangers are looked up in threads of their own: they hold up nobody else's.
    """

    def __init__(self, allowed: Collection[tuple[str, int]] = (), *, getaddrinfo: Lookup = socket.getaddrinfo) -> None:
        self._allowed = frozenset(allowed)
        self._getaddrinfo = getaddrinfo
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="addresses")

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """The addresses of the host, in the system's order, each once.

        Raises Blocked if one of them is not public, and OSError if there are none.
        """
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._threads, self._look_up, host, port)
        except UnicodeError as error:
            raise OSError("no name of a host") from error
        addresses = list(dict.fromkeys(address for address, _ in found))
        if not addresses:
            raise OSError("no address of that name")
        if (host.lower(), port) not in self._allowed:
            for address, scope in found:
                if scope or not is_public(address):
                    raise Blocked(f"{address} is not a public address")
        return addresses

    def close(self) -> None:
        """Ends the threads as they become free. For when all pools that look up here are closed."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _look_up(self, host: str, port: int) -> list[tuple[str, int]]:
        """Addresses and their scopes."""
        found = self._getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [(address[0], address[3] if family == socket.AF_INET6 else 0) for family, _, _, _, address in found]
