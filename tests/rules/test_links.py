"""What the pages point to is there."""

import re
from pathlib import Path

import pytest

from tests.rules.sources import ROOT, name

PAGES = sorted({*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")})
LINK = re.compile(r"\]\((?!https?://)([^)#\s]+)(#[^)\s]+)?\)")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert [target for target, _ in LINK.findall(text) if not (page.parent / target).exists()] == []
