"""The HTTP/2 side of the simulators: header compression, flow control, and clients that mean no good."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress

import hpack
import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import given
from hypothesis import strategies as st

from bellhop_simulators import ApnsSimulator
from bellhop_simulators.http2.errors import ConnectionFailure, ErrorCode
from bellhop_simulators.http2.header_blocks import HeaderDecoder, HeaderEncoder
from tests.unit.apns_wire import PREFACE, WireClient

NAMES = st.sampled_from(["apns-id", ":path", "authorization", "x-a", "x-b", ":method"])
HEADERS = st.lists(st.tuples(NAMES, st.text(st.characters(codec="utf-8"), max_size=80)), max_size=12)


@pytest.fixture
async def apns() -> AsyncIterator[ApnsSimulator]:
    async with ApnsSimulator() as simulator:
        yield simulator
        async with await WireClient.connect(simulator) as client:
            assert (await client.push()).status == 200, "whatever happened, others are served"


@pytest.fixture
async def client(apns: ApnsSimulator) -> AsyncIterator[WireClient]:
    async with await WireClient.connect(apns) as connected:
        yield connected


@given(st.lists(HEADERS, max_size=6), st.booleans(), st.sampled_from([0, 100, 4096]))
def test_header_blocks_agree_with_another_encoder(
    blocks: list[list[tuple[str, str]]], huffman: bool, size: int
) -> None:
    encoder, decoder = hpack.Encoder(), HeaderDecoder()
    encoder.header_table_size = size
    for headers in blocks:
        assert decoder.decode(encoder.encode(headers, huffman=huffman)) == headers


@given(st.integers(100, 599), HEADERS)
def test_answers_agree_with_another_decoder(status: int, headers: list[tuple[str, str]]) -> None:
    decoded = [
        (str(name), str(value)) for name, value in hpack.Decoder().decode(HeaderEncoder().encode(status, headers))
    ]

    assert decoded == [(":status", str(status)), *headers]


@given(st.integers(100, 599), HEADERS, HEADERS)
def test_an_answer_that_is_lost_spoils_none_behind_it(
    status: int, lost: list[tuple[str, str]], headers: list[tuple[str, str]]
) -> None:
    encoder = HeaderEncoder()
    encoder.encode(status, lost)

    assert encoder.encode(status, headers) == HeaderEncoder().encode(status, headers)


def test_text_that_is_not_utf_8_can_be_looked_at() -> None:
    assert HeaderDecoder().decode(b"\x00\x01a\x02\xffb") == [("a", "\\xffb")]


@given(st.binary(max_size=100))
def test_garbage_is_decoded_or_refused(block: bytes) -> None:
    with suppress(ConnectionFailure):
        HeaderDecoder().decode(block)


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",
        b"\xff\x80\x80\x80\x80\x01",
        b"\xbe",
        b"\x40",
        b"\x40\x01",
        b"\x40\x01a\x7f",
        b"\x3f\xe2\x1f",
        b"\x82\x20",
        b"\x00\x81\xff\x00",
        b"\x00\x01a\x7f\xbe\x3e" + b"x" * 8125,
    ],
)
def test_broken_blocks_are_refused(block: bytes) -> None:
    with pytest.raises(ConnectionFailure) as refusal:
        HeaderDecoder().decode(block)
    assert refusal.value.code is ErrorCode.COMPRESSION_ERROR


async def test_headers_and_data_may_come_padded_with_priority_and_in_pieces(client: WireClient) -> None:
    block = client.encoder.encode(client.head())
    stream_id = client.open()
    head = HeadersFrame(stream_id, block[:5], flags=["PADDED", "PRIORITY"], pad_length=9)
    pieces = [block[start : start + 40] for start in range(5, len(block), 40)]
    for frame in (
        head,
        *(ContinuationFrame(stream_id, piece) for piece in pieces),
        ContinuationFrame(stream_id, b"", flags=["END_HEADERS"]),
        PriorityFrame(stream_id, depends_on=0, stream_weight=3),
        DataFrame(stream_id, b'{"a"', flags=["PADDED"], pad_length=200),
        DataFrame(stream_id, b""),
        DataFrame(stream_id, b":1}"),
        HeadersFrame(stream_id, client.encoder.encode([("trailer", "x")]), flags=["END_HEADERS", "END_STREAM"]),
    ):
        client.write(frame.serialize())

    assert (await client.answer(stream_id)).status == 200
    assert client.apns.journal.entries[0].body == {"a": 1}


async def test_input_may_come_octet_by_octet(apns: ApnsSimulator) -> None:
    async with await WireClient.connect(apns, greet=False) as client:
        sent: list[bytes] = []
        client.write = sent.append  # To hold back what send() writes.
        stream = client.send()
        del client.write  # The class's own again.
        for octet in PREFACE + SettingsFrame(0).serialize() + b"".join(sent):
            client.write(bytes((octet,)))
            await client.writer.drain()

        assert (await client.answer(stream)).status == 200


async def test_a_megabyte_goes_out_as_the_windows_open(client: WireClient) -> None:
    client.apns.faults.add({"status": 200, "body_size": 1_000_000}, times=1)
    stream = client.send()
    await client.until(lambda: len(client.replies[stream].body) == 65_535)
    await client.round_trip()
    assert len(client.replies[stream].body) == 65_535

    client.write(WindowUpdateFrame(stream, 2_000_000).serialize())
    client.write(WindowUpdateFrame(0, 100).serialize())
    await client.until(lambda: len(client.replies[stream].body) == 65_635)
    client.write(WindowUpdateFrame(0, 2_000_000).serialize())

    assert len((await client.answer(stream)).body) == 1_000_000


async def test_a_smaller_initial_window_is_kept(client: WireClient) -> None:
    client.apns.faults.add({"status": 400, "body": "0123456789"}, times=1)
    client.write(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 4}).serialize())
    stream = client.send()
    await client.until(lambda: client.replies[stream].body)
    await client.round_trip()
    assert client.replies[stream].body == b"0123"

    client.write(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 10}).serialize())

    assert (await client.answer(stream)).body == b"0123456789"


async def test_a_smaller_header_table_is_owned_up_to(client: WireClient) -> None:
    """A client that made its table smaller must be told so at the next block (RFC 7541 section 4.2)."""
    for _ in range(2):
        client.write(SettingsFrame(0, settings={SettingsFrame.HEADER_TABLE_SIZE: 0}).serialize())
    client.decoder.max_allowed_table_size = 0

    assert (await client.push()).status == 200
    assert client.decoder.header_table_size == 0


async def test_many_large_requests_fit_the_windows(client: WireClient) -> None:
    await client.push()
    await client.round_trip()
    streams = [client.send(b"x" * 4000) for _ in range(200)]
    for stream in streams:
        assert (await client.answer(stream)).reason == "BadRequestPayload"

    streams = [client.send(b"x" * 4000) for _ in range(200)]
    for stream in streams:
        await client.answer(stream)


PUSH = b"\x83\x87\x84"  # :method POST, :scheme https, :path /
HEAD = HeadersFrame(1, PUSH, flags=["END_HEADERS"]).serialize()


def raw(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """A frame that need not be legal."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream_id.to_bytes(4, "big") + payload


def large_field(size: int) -> bytes:
    return HeadersFrame(1, hpack.Encoder().encode([("x", "y" * size)]), flags=["END_HEADERS"]).serialize()


@pytest.mark.parametrize(
    ("attack", "code"),
    [
        (PushPromiseFrame(1, 2, b"").serialize(), 1),
        (ContinuationFrame(1, b"").serialize(), 1),
        (HeadersFrame(1, b"\xbe", flags=["END_HEADERS"]).serialize(), 9),
        (HeadersFrame(2, PUSH, flags=["END_HEADERS"]).serialize(), 1),
        (HeadersFrame(1, PUSH).serialize() + PingFrame(0, b"12345678").serialize(), 1),
        (HEAD * 2, 1),
        (raw(1, 0x0C, 1), 6),
        (raw(1, 0x0C, 1, b"\x09"), 1),
        (raw(1, 0x20, 1, b"abcd"), 1),
        (raw(0, 0, 1, b"x"), 1),
        (raw(0, 0, 0, b"x"), 1),
        (raw(1, 0, 1, b"x" * 16_385), 6),
        (raw(3, 0, 1, b"abc"), 6),
        (raw(4, 0, 0, b"abcde"), 6),
        (raw(4, 0, 1), 1),
        (raw(6, 0, 0, b"1234567"), 6),
        (raw(7, 0, 0, b"1234567"), 6),
        (raw(8, 0, 0, b"123"), 6),
        (WindowUpdateFrame(0, 2**31 - 1).serialize(), 3),
        (WindowUpdateFrame(9, 1).serialize(), 1),
        (raw(8, 0, 0, bytes(4)), 1),
        (SettingsFrame(0, settings={4: 2**31}).serialize(), 3),
        (RstStreamFrame(5, 8).serialize(), 1),
        (HeadersFrame(1, b"x" * 16_000).serialize() + ContinuationFrame(1, b"x" * 16_000).serialize() * 2, 11),
        (large_field(8000), 9),
    ],
)
async def test_a_broken_rule_ends_the_connection(client: WireClient, attack: bytes, code: int) -> None:
    client.write(attack)

    assert await client.ended() == "closed"
    assert [goaway.error_code for goaway in client.goaways] == [code]


async def test_windows_are_opened_again(client: WireClient) -> None:
    await client.push()
    await client.round_trip()
    for _ in range(50):
        client.send(b"x" * 60_000, token="zz")
    await client.round_trip()
    assert client.eof == ""
    credits = [frame for frame in client.frames if isinstance(frame, WindowUpdateFrame) and frame.stream_id == 0]
    assert sum(frame.window_increment for frame in credits) > 50 * 60_000


async def test_a_goaway_of_the_client_ends_the_connection_after_the_answers(client: WireClient) -> None:
    client.apns.faults.add({"delay": 0.05}, times=1)
    stream = client.send()
    client.write(GoAwayFrame(0, 0, 0).serialize())

    assert await client.ended() == "closed"
    assert client.replies[stream].status == 200


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\0" * 1000, b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"]
)
async def test_garbage_instead_of_the_preface(apns: ApnsSimulator, garbage: bytes) -> None:
    async with await WireClient.connect(apns, greet=False) as client:
        client.write(garbage)
        assert await client.ended() == "closed"
        assert client.goaways[0].error_code == 1


async def test_garbage_instead_of_tls_and_tls_without_h2(apns: ApnsSimulator) -> None:
    host, port = apns.url.removeprefix("https://").rsplit(":", 1)
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\0" * 5000, PREFACE):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(garbage)
        await reader.read()
        writer.close()
    for protocols in ([], ["http/1.1"]):
        context = ssl.create_default_context(cafile=str(apns.ca_file))
        if protocols:
            context.set_alpn_protocols(protocols)
        reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
        assert await reader.read() == b""
        writer.close()
    assert apns.journal.total == 0
    assert len(apns.connections) == 0


async def test_a_client_that_does_not_trust_the_authority_is_not_served(apns: ApnsSimulator) -> None:
    host, port = apns.url.removeprefix("https://").rsplit(":", 1)
    with pytest.raises(ssl.SSLCertVerificationError):
        await asyncio.open_connection(host, int(port), ssl=ssl.create_default_context())


async def test_stopping_does_not_wait_for_clients() -> None:
    async with ApnsSimulator() as apns:
        idle = await WireClient.connect(apns)
        host, port = apns.url.removeprefix("https://").rsplit(":", 1)
        _, silent = await asyncio.open_connection(host, int(port))
    assert await idle.ended() in ("closed", "reset")
    idle.writer.transport.abort()
    silent.transport.abort()
