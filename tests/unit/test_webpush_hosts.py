"""Which endpoints may be called: URLs of strangers, and the operator's setting."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellhop_server.providers.webpush.hosts import Endpoint, Hosts

KNOWN = Hosts.parse("known")
ANY = Hosts.parse("*")


@pytest.mark.parametrize(
    "url",
    [
        "https://fcm.googleapis.com/fcm/send/abc:APA91b",
        "https://fcm.googleapis.com/wp/abc",
        "https://android.googleapis.com/gcm/send/abc",
        "https://updates.push.services.mozilla.com/wpush/v2/gAAAA",
        "https://web.push.apple.com/QGuQ",
        "https://db5p.notify.windows.com/w/?token=BQYA%2fx%2B%3d",
        "https://wns2-by3p.notify.windows.com/w/?token=BQYA",
    ],
)
def test_the_push_services_of_the_big_browsers(url: str) -> None:
    endpoint = KNOWN.check(url)

    assert isinstance(endpoint, Endpoint)
    assert endpoint.origin + endpoint.path == url
    assert endpoint.port == 443
    assert ANY.check(url) == endpoint


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/",
        "https://googleapis.com/",
        "https://storage.googleapis.com/",
        "https://evil-fcm.googleapis.com/",
        "https://fcm.googleapis.com.example.com/",
        "https://notify.windows.com/w/",
        "https://evilnotify.windows.com/w/",
        "https://push.apple.com/",
        "https://web.push.apple.com.example/",
        "https://push.services.mozilla.com/",
        "https://example.com/fcm.googleapis.com/",
        "https://example.com/?fcm.googleapis.com",
    ],
)
def test_others_are_not_at_a_known_push_service(url: str) -> None:
    assert KNOWN.check(url) == "is not at a push service that this server may call"


# Whatever the setting is.
@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "is not an https URL"),
        ("http://fcm.googleapis.com/x", "is not an https URL"),
        ("//fcm.googleapis.com/x", "is not an https URL"),
        ("https:/fcm.googleapis.com/x", "is not an https URL"),
        ("https:fcm.googleapis.com/x", "is not an https URL"),
        (" https://fcm.googleapis.com/x", "is not an https URL"),
        ("wss://fcm.googleapis.com/x", "is not an https URL"),
        ("https://", "has no readable host"),
        ("https:///x", "has no readable host"),
        ("https://?x", "has no readable host"),
        ("https://.", "has no readable host"),
        ("https://fcm..googleapis.com/", "has no readable host"),
        ("https://.fcm.googleapis.com/", "has no readable host"),
        ("https://fcm.googleapis.com./x", "has no readable host"),
        ("https://fcm_x.googleapis.com/", "has no readable host"),
        ("https://-fcm.googleapis.com/", "has no readable host"),
        ("https://fcm.googleapis.com%2f@example.com/", "names a user"),
        ("https://fcm%2egoogleapis.com/", "has no readable host"),
        ("https://" + "a" * 64 + ".example.com/", "has no readable host"),
        ("https://" + "a." * 127 + "com/", "has no readable host"),
        ("https://user@fcm.googleapis.com/", "names a user"),
        ("https://fcm.googleapis.com@example.com/", "names a user"),
        ("https://fcm.googleapis.com:443@example.com/", "names a user"),
        ("https://user:pass@fcm.googleapis.com/", "names a user"),
        ("https://fcm.googleapis.com\\@example.com/", "backslash"),
        ("https://example.com\\.fcm.googleapis.com/", "backslash"),
        ("https://fcm.googleapis.com/x#y", "has a fragment"),
        ("https://fcm.googleapis.com/#", "has a fragment"),
        ("https://example.com#.notify.windows.com/", "has a fragment"),
        ("https://fcm.googleapis.com/a b", "space"),
        ("https://fcm.googleapis.com/a\r\nx: y", "control"),
        ("https://fcm.googleapis.com/\t", "control"),
        ("https://fcm.googleapis.com/\0", "control"),
        ("https://fcm.googleapis.com/ä", "other than ASCII"),
        ("https://fcm.googleapis.com:/x", "has no readable port"),
        ("https://fcm.googleapis.com:0/x", "has no readable port"),
        ("https://fcm.googleapis.com:0443/x", "has no readable port"),
        ("https://fcm.googleapis.com:65536/x", "has no readable port"),
        ("https://fcm.googleapis.com:+443/x", "has no readable port"),
        ("https://fcm.googleapis.com:٤٤٣/x", "has no readable port"),
        ("https://fcm.googleapis.com:443:443/x", "has no readable port"),
        ("https://fcm.googleapis.com:8443/x", "has a port that this server may not call"),
        ("https://fcm.googleapis.com:22/x", "has a port that this server may not call"),
        ("https://127.0.0.1/", "has an IP address for a host"),
        ("https://127.0.0.1:8443/", "has an IP address for a host"),
        ("https://93.184.216.34/", "has an IP address for a host"),
        ("https://169.254.169.254/latest/meta-data/", "has an IP address for a host"),
        ("https://[::1]/", "has an IP address for a host"),
        ("https://[::ffff:127.0.0.1]/", "has an IP address for a host"),
        ("https://[2001:4860:4860::8888]:443/", "has an IP address for a host"),
        # Other ways to write 127.0.0.1.
        ("https://127.1/", "has no readable host"),
        ("https://2130706433/", "has no readable host"),
        ("https://0x7f000001/", "has no readable host"),
        ("https://0x7f.1/", "has no readable host"),
        ("https://0177.0.0.1/", "has no readable host"),
        ("https://127.0.0.0x1/", "has no readable host"),
        ("https://１２７.0.0.1/", "has an IP address for a host"),
        ("https://127。0。0。1/", "has an IP address for a host"),
        ("https://[::1/", "has no readable host"),
        ("https://[::1]x/", "has no readable host"),
        ("https://[fe80::1%25eth0]/", "has no readable host"),
        ("https://::1/", "has no readable"),
        ("https://permanently-removed.invalid/fcm/send/x", "is of a subscription that the browser has removed"),
        ("https://fcm.googleapis.com/" + "x" * 2048, "has more than 2048 characters"),
    ],
)
@pytest.mark.parametrize("hosts", [KNOWN, ANY, Hosts.parse("known, push.example.com:8443, *.example.com, *")])
def test_urls_that_are_no_endpoints(hosts: Hosts, url: str, says: str) -> None:
    told = hosts.check(url)

    assert isinstance(told, str)
    assert says in told


@pytest.mark.parametrize(
    "name",
    [
        "localhost",
        "intranet",
        "push.localhost",
        "printer.local",
        "push.corp.internal",
        "metadata.google.internal",
        "router.lan",
        "push.test",
        "push.example",
        "push.invalid",
        "x.onion",
        "1.0.0.127.in-addr.arpa",
        "box.home.arpa",
    ],
)
def test_names_that_mean_something_else_in_each_network_are_not_any_host(name: str) -> None:
    assert ANY.check(f"https://{name}/x") == "is not at a push service that this server may call"


def test_any_host_with_a_public_name() -> None:
    assert ANY.check("https://ntfy.sh/upAbC?up=1") == Endpoint("ntfy.sh", 443, "ntfy.sh", "/upAbC?up=1")
    assert ANY.check("https://push.example.org/_matrix/../x?a=b&c=%2F") == Endpoint(
        "push.example.org", 443, "push.example.org", "/_matrix/../x?a=b&c=%2F"
    )


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("https://FCM.GoogleAPIs.com/X", Endpoint("fcm.googleapis.com", 443, "fcm.googleapis.com", "/X")),
        ("HTTPS://fcm.googleapis.com:443/X", Endpoint("fcm.googleapis.com", 443, "fcm.googleapis.com", "/X")),
        ("https://ｆcm.googleapis.com/X", Endpoint("fcm.googleapis.com", 443, "fcm.googleapis.com", "/X")),
        ("https://fcm.googleapis.com", Endpoint("fcm.googleapis.com", 443, "fcm.googleapis.com", "/")),
        ("https://fcm.googleapis.com?x", Endpoint("fcm.googleapis.com", 443, "fcm.googleapis.com", "/?x")),
        ("https://fcm.googleapis.com/?", Endpoint("fcm.googleapis.com", 443, "fcm.googleapis.com", "/?")),
        ("https://fcm.googleapis.com/@x", Endpoint("fcm.googleapis.com", 443, "fcm.googleapis.com", "/@x")),
    ],
)
def test_hosts_have_one_form_and_the_rest_stays_as_it_is(url: str, endpoint: Endpoint) -> None:
    assert KNOWN.check(url) == endpoint


def test_names_in_other_scripts_are_called_by_their_ascii_form() -> None:
    hosts = Hosts.parse("bücher.example.com")

    assert hosts.check("https://BÜCHER.example.com/x") == hosts.check("https://xn--bcher-kva.example.com/x")
    assert hosts.check("https://bücher.example.com/x") == Endpoint(
        "xn--bcher-kva.example.com", 443, "xn--bcher-kva.example.com", "/x"
    )


def test_entries_for_one_host_a_port_and_a_suffix() -> None:
    hosts = Hosts.parse("push.example.com, other.example.com:8443, *.example.net")

    assert hosts.check("https://push.example.com/x") == Endpoint("push.example.com", 443, "push.example.com", "/x")
    assert hosts.check("https://push.example.com:8443/x") == "has a port that this server may not call"
    assert hosts.check("https://other.example.com:8443/x") == Endpoint(
        "other.example.com", 8443, "other.example.com:8443", "/x"
    )
    assert isinstance(hosts.check("https://other.example.com/x"), str)
    assert isinstance(hosts.check("https://a.b.example.net/x"), Endpoint)
    assert isinstance(hosts.check("https://example.net/x"), str)
    assert isinstance(hosts.check("https://badexample.net/x"), str)
    assert isinstance(hosts.check("https://fcm.googleapis.com/x"), str)
    assert hosts.private == frozenset()


def test_private_places_are_exact_and_marked() -> None:
    hosts = Hosts.parse("known,private:push.internal:8443,127.0.0.1:9443,LOCALHOST:9444,[::1]:9445,10.1.2.3:443")

    assert hosts.private == {
        ("push.internal", 8443),
        ("127.0.0.1", 9443),
        ("localhost", 9444),
        ("::1", 9445),
        ("10.1.2.3", 443),
    }
    assert hosts.check("https://127.0.0.1:9443/x?y").origin == "https://127.0.0.1:9443"
    assert hosts.check("https://[0:0::1]:9445/x") == Endpoint("::1", 9445, "[::1]:9445", "/x")
    assert hosts.check("https://10.1.2.3/x") == Endpoint("10.1.2.3", 443, "10.1.2.3", "/x")
    assert isinstance(hosts.check("https://push.internal:8443/x"), Endpoint)
    for url in (
        "https://push.internal/x",
        "https://127.0.0.1:9444/x",
        "https://127.0.0.2:9443/x",
        "https://localhost:9443/x",
        "https://sub.push.internal:8443/x",
    ):
        assert isinstance(hosts.check(url), str), url


def test_a_public_address_is_a_host_only_if_named_with_its_port() -> None:
    hosts = Hosts.parse("93.184.216.34:8443")

    assert isinstance(hosts.check("https://93.184.216.34:8443/x"), Endpoint)
    assert hosts.private == frozenset()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has an empty entry"),
        ("known,", "has an empty entry"),
        ("known,,*", "has an empty entry"),
        ("https://push.example.com", "https://push.example.com has no readable port"),
        ("push.example.com/x", "push.example.com/x has no readable host"),
        ("push example.com", "has no readable host"),
        ("push.example.com:x", "has no readable port"),
        ("push.example.com:70000", "has no readable port"),
        ("*.example.com:8443", "is not \\* and the end of a name"),
        ("*.com", "is all of a top-level domain"),
        ("*.", "has no readable host"),
        ("*example.com", "has no readable host"),
        ("push.*.com", "has no readable host"),
        ("**", "has no readable host"),
        ("*.10.0.0.1", "is not \\* and the end of a name"),
        ("*.127.0.0.1:80", "is not \\* and the end of a name"),
        ("127.0.0.1", "127.0.0.1 needs a port: 127.0.0.1:8443"),
        ("8.8.8.8", "needs a port"),
        ("[::1]", "needs a port"),
        ("localhost", "localhost needs a port: localhost:8443"),
        ("private:push.internal", "private:push.internal needs a port: push.internal:8443"),
        ("private:*", "has no readable host"),
        ("private:*.internal:8443", "has no readable host"),
        ("private:", "has no readable host"),
        ("[::1:8443", "has no readable host"),
        ("2130706433:8443", "has no readable host"),
    ],
)
def test_settings_that_cannot_be_read(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Hosts.parse(text)


def test_many_hosts_of_strangers_are_not_remembered_for_ever() -> None:
    hosts = Hosts.parse("*")

    for number in range(5000):
        assert isinstance(hosts.check(f"https://h{number}.example.com/x"), Endpoint)

    assert len(hosts._known) <= 1024


@given(st.text(max_size=60).map("https://".__add__) | st.text(max_size=60))
def test_whatever_is_taken_is_written_in_a_request_as_it_is(url: str) -> None:
    endpoint = ANY.check(url)

    if isinstance(endpoint, Endpoint):
        assert endpoint.authority.isascii()
        assert endpoint.host == endpoint.authority == endpoint.authority.lower()
        assert endpoint.path.isascii()
        assert endpoint.path.startswith("/")
        assert url.endswith(endpoint.path.removeprefix("/"))
        assert not any(sign in endpoint.authority for sign in "@/?# \\%")
