"""Where a stranger's host may be: every kind of address, and names that lead to several."""

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest

from bellhop_server.providers.addresses import Addresses, Blocked, is_public

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.1",
    "168.63.129.15",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.1",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2606:4700:4700::1111",
    "2a00:1450:4001::5e",
    "3ffe::1",
    "64:ff9b::808:808",
]
NOT_PUBLIC = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.0",
    "10.255.255.255",
    "100.64.0.0",
    "100.100.100.200",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.255",
    "168.63.129.16",
    "169.254.0.1",
    "169.254.169.254",
    "172.16.0.0",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.170",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "192.168.255.255",
    "198.18.0.0",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.7",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:0:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::10.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::808:808",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "2606:4700:4700::1111%eth0",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    "",
    "localhost",
    "0x7f.1",
    "127.1",
    "010.0.0.1",
    "2130706433",
    "8.8.8.8/32",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_is_not_public(address: str) -> None:
    assert not is_public(address)


class Names:
    """A resolver that the test fills, in place of the system's."""

    def __init__(self) -> None:
        self.addresses: dict[str, list[str]] = {}
        self.asked: list[tuple[str, int]] = []

    def getaddrinfo(self, host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        self.asked.append((host, port))
        if host not in self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [self._found(address, port) for address in self.addresses[host]]

    def _found(self, address: str, port: int) -> tuple[object, ...]:
        if ":" not in address:
            return socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)
        plain, _, scope = address.partition("%")
        return socket.AF_INET6, socket.SOCK_STREAM, 6, "", (plain, port, 0, int(scope or 0))


@pytest.fixture
def names() -> Names:
    return Names()


@pytest.fixture
def addresses(names: Names) -> Iterator[Addresses]:
    """Allows one host inside."""
    found = Addresses({("push.inside", 8443)}, getaddrinfo=names.getaddrinfo)
    yield found
    found.close()


async def test_all_public_addresses_in_order_and_once(addresses: Addresses, names: Names) -> None:
    names.addresses["push.example"] = ["2a00:1450:4001::5e", "8.8.8.8", "1.1.1.1", "8.8.8.8"]
    assert list(await addresses.resolve("push.example", 443)) == ["2a00:1450:4001::5e", "8.8.8.8", "1.1.1.1"]
    assert names.asked == [("push.example", 443)]


@pytest.mark.parametrize("inside", ["127.0.0.1", "10.1.2.3", "::1", "169.254.169.254", "2606:4700:4700::1111%2"])
@pytest.mark.parametrize("position", [0, 1, 2])
async def test_one_address_inside_spoils_the_others(
    addresses: Addresses, names: Names, inside: str, position: int
) -> None:
    names.addresses["push.example"] = ["8.8.8.8", "2a00:1450:4001::5e"]
    names.addresses["push.example"].insert(position, inside)
    with pytest.raises(Blocked):
        await addresses.resolve("push.example", 443)


async def test_a_name_is_judged_anew_each_time(addresses: Addresses, names: Names) -> None:
    names.addresses["push.example"] = ["8.8.8.8"]
    assert list(await addresses.resolve("push.example", 443)) == ["8.8.8.8"]
    names.addresses["push.example"] = ["127.0.0.1"]
    with pytest.raises(Blocked):
        await addresses.resolve("push.example", 443)


async def test_what_the_operator_allows_may_be_inside(addresses: Addresses, names: Names) -> None:
    for host in "push.inside", "PUSH.Inside", "other.inside", "push.inside.example":
        names.addresses[host] = ["10.1.2.3"]
    assert list(await addresses.resolve("push.inside", 8443)) == ["10.1.2.3"]
    assert list(await addresses.resolve("PUSH.Inside", 8443)) == ["10.1.2.3"]
    for host, port in ("push.inside", 443), ("other.inside", 8443), ("push.inside.example", 8443):
        with pytest.raises(Blocked):
            await addresses.resolve(host, port)


async def test_a_name_that_leads_nowhere(addresses: Addresses, names: Names) -> None:
    with pytest.raises(socket.gaierror):
        await addresses.resolve("push.example", 443)
    names.addresses["push.example"] = []
    with pytest.raises(OSError, match="no address"):
        await addresses.resolve("push.example", 443)


@pytest.mark.parametrize("host", ["a..b", "." * 3, "a" * 64 + ".example"])
async def test_a_name_that_is_none(host: str) -> None:
    addresses = Addresses()
    with pytest.raises(OSError, match="no name of a host"):
        await addresses.resolve(host, 443)
    addresses.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.1", "2130706433", "0x7f000001"])
async def test_this_machine_by_the_systems_resolver(host: str) -> None:
    addresses = Addresses()
    with pytest.raises((Blocked, OSError)):
        await addresses.resolve(host, 443)
    addresses.close()
    allowed = Addresses({("127.0.0.1", 443)})
    assert list(await allowed.resolve("127.0.0.1", 443)) == ["127.0.0.1"]
    allowed.close()


async def test_a_slow_name_server_holds_up_no_other_name(names: Names) -> None:
    released = threading.Event()
    names.addresses["push.example"] = ["8.8.8.8"]

    def getaddrinfo(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        if host == "slow.example":
            released.wait(10)
        return names.getaddrinfo(host, port)

    addresses = Addresses(getaddrinfo=getaddrinfo)
    slow = [asyncio.create_task(addresses.resolve("slow.example", 443)) for _ in range(10)]
    assert list(await addresses.resolve("push.example", 443)) == ["8.8.8.8"]
    # Nor the threads that all others share.
    assert await asyncio.to_thread(lambda: True)
    assert not any(task.done() for task in slow)
    released.set()
    await asyncio.gather(*slow, return_exceptions=True)
    addresses.close()
