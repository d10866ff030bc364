"""The five minutes of docs/start.md, by hand."""

import re
from pathlib import Path

from tests.documentation.pages import blocks, replaced
from tests.documentation.session import free_addresses, pasted


def test_the_five_minutes_go_as_told(tmp_path: Path) -> None:
    address, gateway = free_addresses(2)
    _, by_hand = blocks("docs/start.md", "sh")
    script = replaced(by_hand, ("127.0.0.1:8080", gateway))
    told = pasted(
        f"{script}\nkill %1 %2\nwait\n",
        tmp_path,
        BELLHOP_LISTEN=address,
        BELLHOP_SERVER=address,
        BELLHOP_GATEWAY_LISTEN=gateway,
    )
    for stored in ("apns: the provider took it", "fcm: the provider took it", "web-push: the key is sound"):
        assert f"Stored {stored}" in told, told
    assert re.search(r"^apns +accepted +1$", told, re.MULTILINE), told
    assert "bellhop: " not in told, told
