"""Why a request got no answer, in words of ours.

They are stored with results and shown to whoever sent them, so nothing that a peer, a library or the operating system
says is among them. That goes to the log alone, through `quote`, because a peer may repeat what it was sent: the token
of a device, or ours.
"""

import json
import re
from enum import StrEnum

LONGEST = 256

# A token of a device or of ours.
_SECRET = re.compile(r"[0-9A-Fa-f]{32,}|eyJ[\w.-]{16,}")


class Reason(StrEnum):
    """All there are."""

    CONNECTION_REFUSED = "ConnectionRefused"
    """Nobody listens there."""
    CONNECTION_FAILED = "ConnectionFailed"
    """There is no way to the peer, or no address of that name."""
    ADDRESS_BLOCKED = "AddressBlocked"
    """The peer's name leads to an address that is not a public one."""
    HOST_NOT_ALLOWED = "HostNotAllowed"
    """This server may not call the peer."""
    CONNECTION_LOST = "ConnectionLost"
    """The peer or something in between ended it."""
    CONNECTION_RETIRED = "ConnectionRetired"
    """It was to end after the last answer, which did not come."""
    CONNECT_TIMEOUT = "ConnectTimeout"
    """TCP, TLS or the peer's first SETTINGS took too long."""
    TLS_FAILED = "TlsFailed"
    """TLS broke, or the peer is not who it should be."""
    NO_HTTP2 = "NoHttp2"
    """The peer does not speak HTTP/2, and nothing else will do."""
    PROTOCOL_ERROR = "ProtocolError"
    """The peer broke the rules of HTTP."""
    GO_AWAY = "GoAway"
    """The peer ended the connection with GOAWAY, or with `Connection: close`."""
    STREAM_REFUSED = "StreamRefused"
    """The peer did not take the request (RFC 9113 section 8.7)."""
    STREAM_RESET = "StreamReset"
    """The peer broke the request off."""
    HEADERS_REFUSED = "HeadersRefused"
    """The peer announced that it takes no header fields of this size."""
    INVALID_REQUEST = "InvalidRequest"
    """HTTP cannot carry the request."""
    NO_CAPACITY = "NoCapacity"
    """No connection had room for it in time."""
    RATE_LIMITED = "RateLimited"
    """What may be sent in a second is used up, and its turn would have come too late."""
    HANDOVER_TIMEOUT = "HandoverTimeout"
    """Whether the peer has got it was not known in time, so it was taken back."""
    ANSWER_TIMEOUT = "AnswerTimeout"
    """No answer came in time."""
    PING_TIMEOUT = "PingTimeout"
    """No sign of life came in time."""
    WRITE_TIMEOUT = "WriteTimeout"
    """The peer did not read in time."""
    SHUTTING_DOWN = "ShuttingDown"
    """This server ends."""
    ABANDONED = "Abandoned"
    """Whoever sent it does not wait for it any more."""
    CREDENTIAL_REPLACED = "CredentialReplaced"
    """A newer version of the credential is there."""
    KEY_UNREADABLE = "KeyUnreadable"
    """The text of the key is not one."""


def farewell(debug: bytes) -> str:
    """The `reason` in the debug data of a GOAWAY, where it is the JSON that APNs sends; fit for a log, else empty."""
    try:
        decoded = json.loads(debug)
    except (ValueError, RecursionError):
        return ""
    reason = decoded.get("reason") if isinstance(decoded, dict) else None
    return quote(reason) if isinstance(reason, str) else ""


def shortened(token: str) -> str:
    """Enough of a token or an endpoint to tell it from others, and not enough to use it."""
    return f"{token[:8]}…" if len(token) > 16 else "…"


def quote(text: str) -> str:
    """What somebody else says, fit for a log: in one line, not long, without tokens."""
    cut = "".join(letter if letter.isprintable() else " " for letter in text[: 2 * LONGEST])
    return _SECRET.sub("…", cut)[:LONGEST]
