"""What stands in the fenced blocks of a page."""

import re

from tests.rules.sources import ROOT


def blocks(page: str, language: str) -> list[str]:
    """Those of that language, in order. The page that has none has been changed, and its test with it."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.findall(rf"^```{language}\n(.+?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found, f"no {language} in {page}"
    return [str(each) for each in found]


def replaced(text: str, *pairs: tuple[str, str]) -> str:
    """The text with what only a reader can know filled in. What is to be replaced is there."""
    for old, new in pairs:
        assert old in text, f"no {old}"
        text = text.replace(old, new)
    return text
