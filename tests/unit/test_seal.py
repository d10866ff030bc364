"""The master key and what it seals."""

import base64
import stat
import threading
from pathlib import Path

import pytest

from bellhop_server.store.seal import KeyRefused, MasterKey, SealBroken

KEY = bytes(range(32))
PLACE = ("credential", "shop", 1, "apns", 7)


def test_what_is_sealed_opens_in_its_place() -> None:
    key = MasterKey(KEY)
    for plain in (b"", b"secret", bytes(100_000)):
        assert key.open(key.seal(plain, *PLACE), *PLACE) == plain


@pytest.mark.parametrize(
    "place",
    [
        ("credential", "other", 1, "apns", 7),
        ("credential", "shop", 2, "apns", 7),
        ("credential", "shop", 1, "apns", 8),
        ("credential", "shop", "1", "apns", 7),
        ("credential", "shop1", "apns", 7),
        ("credential", "shop", 1, "apns"),
        (),
    ],
)
def test_nothing_opens_in_another_place(place: tuple[str | int, ...]) -> None:
    key = MasterKey(KEY)
    with pytest.raises(SealBroken):
        key.open(key.seal(b"secret", *PLACE), *place)


def test_every_damage_is_noticed() -> None:
    key = MasterKey(KEY)
    sealed = key.seal(b"secret", *PLACE)
    for position in range(len(sealed)):
        with pytest.raises(SealBroken):
            key.open(sealed[:position] + bytes([sealed[position] ^ 1]) + sealed[position + 1 :], *PLACE)
        with pytest.raises(SealBroken):
            key.open(sealed[:position], *PLACE)
    with pytest.raises(SealBroken):
        MasterKey(bytes(32)).open(sealed, *PLACE)


def test_the_same_text_is_never_sealed_alike() -> None:
    key = MasterKey(KEY)
    assert len({key.seal(b"secret", *PLACE) for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode(KEY).decode(),
        base64.b64encode(KEY).decode().rstrip("="),
        f" {base64.b64encode(KEY).decode()}\n",
        KEY.hex(),
        KEY.hex().upper(),
    ],
)
def test_key_is_read_however_it_is_written(text: str) -> None:
    assert MasterKey.parse(text).open(MasterKey(KEY).seal(b"secret"), *()) == b"secret"


def test_key_is_read_in_the_alphabet_for_urls_too() -> None:
    odd = b"\xfb\xff" * 16
    text = base64.urlsafe_b64encode(odd).decode()
    assert "-" in text
    assert MasterKey.parse(text).open(MasterKey(odd).seal(b"secret")) == b"secret"


@pytest.mark.parametrize(
    "text", ["", "changeme", "=" * 44, base64.b64encode(bytes(31)).decode(), "ab" * 31, "ä" * 44, "!" * 44]
)
def test_what_is_no_key_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(KeyRefused) as refused:
        MasterKey.parse(text)
    assert not text or text not in str(refused.value)


def test_key_file_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "bellhop.key"
    sealed = MasterKey.load_or_create(path).seal(b"secret")

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert MasterKey.load_or_create(path).open(sealed) == b"secret"
    assert [file.name for file in tmp_path.iterdir()] == ["bellhop.key"]


def test_all_that_start_at_once_get_the_same_key(tmp_path: Path) -> None:
    path = tmp_path / "bellhop.key"
    barrier = threading.Barrier(8)
    keys = []

    def load() -> None:
        barrier.wait()
        keys.append(MasterKey.load_or_create(path))

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert all(key.open(keys[0].seal(b"secret")) == b"secret" for key in keys)
    assert len(keys) == 8


def test_key_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bellhop.key"
    MasterKey.load_or_create(path)
    path.chmod(0o640)
    with pytest.raises(KeyRefused, match="chmod 600"):
        MasterKey.load_or_create(path)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"not a key\n"])
def test_damaged_key_file_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bellhop.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyRefused):
        MasterKey.load_or_create(path)
    assert path.read_bytes() == content


def test_folder_that_takes_no_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(KeyRefused):
        MasterKey.load_or_create(tmp_path / "missing" / "bellhop.key")
