"""Every setting has its paragraph in docs/settings.md, and every paragraph is of a setting."""

import re
from dataclasses import fields

import pytest

from bellhop_gateway.settings import GATEWAY_SETTING_NAMES, GatewaySettings
from bellhop_server.settings import COMMAND_LINE_NAMES, GATEWAY_NAMES, SETTING_NAMES, Settings, variable_of
from tests.rules.sources import ROOT

PAGE = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
PARAGRAPHS = dict(re.findall(r"^### (\w+)\n+(.+?)(?=\n#|\Z)", PAGE, re.MULTILINE | re.DOTALL))


def test_the_page_and_the_settings_name_the_same() -> None:
    names = {*SETTING_NAMES, *COMMAND_LINE_NAMES, *GATEWAY_SETTING_NAMES}
    assert set(PARAGRAPHS) == {variable_of(name) for name in names}


def test_the_server_knows_what_is_the_gateway_s_alone() -> None:
    assert set(GATEWAY_NAMES) == set(GATEWAY_SETTING_NAMES) - set(SETTING_NAMES)


@pytest.mark.parametrize("variable", PARAGRAPHS)
def test_every_paragraph_ends_with_the_default(variable: str) -> None:
    assert re.search(r"Default: \S.*\.\s*\Z", PARAGRAPHS[variable], re.DOTALL)


def test_the_defaults_that_are_told_are_those_of_the_settings() -> None:
    shown = {"listen": "127.0.0.1:50051", "database_url": "sqlite:///bellhop.db", "log_level": "info"}
    shown |= {"allow_plaintext": "false", "reflection": "true"}
    for name, text in shown.items():
        default = getattr(Settings(), name)
        assert (str(default).lower() if isinstance(default, bool) else str(default)) == text
        assert f"Default: `{text}`" in PARAGRAPHS[variable_of(name)]


def test_the_defaults_of_the_gateway_that_are_told_are_its_own() -> None:
    for name in ("gateway_listen", "server", "gateway_rate"):
        assert f"Default: `{getattr(GatewaySettings(), name)}`" in PARAGRAPHS[variable_of(name)]


def test_what_may_hold_a_secret_is_never_shown() -> None:
    assert {field.name for field in fields(GatewaySettings) if not field.repr} == {"client_secret"}
    hidden = {field.name for field in fields(Settings) if not field.repr}
    assert hidden == {"database_url", "admin_token", "master_key"}
