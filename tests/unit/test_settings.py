"""Settings: where they come from, which wins, and what is told about a wrong one."""

from pathlib import Path

import pytest

from bellhop_server.settings import Address, Settings, SettingsError, load


def toml(folder: Path, text: str) -> Path:
    path = folder / "bellhop.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_any_it_is_this_machine_alone() -> None:
    loaded = load({"PATH": "/bin", "HOME": "/"})
    assert loaded.settings == Settings()
    assert loaded.settings.listen.loopback
    assert loaded.warnings == ()


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    config = toml(tmp_path, 'listen = "127.0.0.1:1"\nlog_level = "error"\nreflection = false')
    settings = load({"BELLHOP_LISTEN": "127.0.0.1:2"}, config).settings
    assert settings == Settings(listen=Address("127.0.0.1", 2), log_level="error", reflection=False)


def test_an_empty_variable_is_unset(tmp_path: Path) -> None:
    config = toml(tmp_path, 'log_level = "error"')
    assert load({"BELLHOP_LOG_LEVEL": "", "BELLHOP_ADMIN_TOKEN": ""}, config).settings == Settings(log_level="error")


def test_an_unknown_key_of_the_file_is_an_error_that_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"bellhop.toml: listne is not a setting\. The nearest one is listen\."):
        load({}, toml(tmp_path, 'listne = "127.0.0.1:1"'))


def test_an_unknown_variable_is_a_warning_that_names_the_nearest() -> None:
    loaded = load({"BELLHOP_DATABSE_URL": "sqlite:///x", "BELLHOP_listen": "127.0.0.1:1", "BELLHOP_SERVER": "x:1"})
    assert loaded.settings == Settings()
    assert loaded.warnings == (
        "BELLHOP_DATABSE_URL is not a setting. The nearest one is BELLHOP_DATABASE_URL.",
        "BELLHOP_listen is not a setting. The nearest one is BELLHOP_LISTEN.",
    )


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("BELLHOP_LISTEN", "50051", "BELLHOP_LISTEN is not host:port"),
        ("BELLHOP_LISTEN", "localhost:99999", "BELLHOP_LISTEN is not host:port"),
        ("BELLHOP_LISTEN", "::1:50051", "BELLHOP_LISTEN has an IPv6 address without brackets"),
        ("BELLHOP_LISTEN", "127.0.0.1:٣", "BELLHOP_LISTEN is not host:port"),
        ("BELLHOP_REFLECTION", "maybe", "BELLHOP_REFLECTION is neither true nor false"),
        ("BELLHOP_LOG_LEVEL", "loud", "BELLHOP_LOG_LEVEL is none of debug, info, warning, error"),
        ("BELLHOP_APNS_URL", "api.push.apple.com", "BELLHOP_APNS_URL is not https://host"),
        ("BELLHOP_APNS_URL", "http://localhost:1", "BELLHOP_APNS_URL is not https://host"),
        ("BELLHOP_APNS_SANDBOX_URL", "https://localhost/x", "BELLHOP_APNS_SANDBOX_URL is not https://host"),
        ("BELLHOP_APNS_SANDBOX_URL", "https://[::1", "BELLHOP_APNS_SANDBOX_URL"),
    ],
)
def test_a_value_that_cannot_be_used_is_an_error(variable: str, value: str, complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        load({variable: value})


def test_a_wrong_type_in_the_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="listen is not a text"):
        load({}, toml(tmp_path, "listen = 50051"))


def test_a_file_that_is_no_toml_is_not_quoted(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        load({}, toml(tmp_path, 'admin_token = "hunter2'))
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        load({}, tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    ("text", "host", "port", "shown", "loopback"),
    [
        ("127.0.0.1:0", "127.0.0.1", 0, "127.0.0.1:0", True),
        (":50051", "127.0.0.1", 50051, "127.0.0.1:50051", True),
        ("[::1]:50051", "::1", 50051, "[::1]:50051", True),
        ("[::]:50051", "::", 50051, "[::]:50051", False),
        ("0.0.0.0:1", "0.0.0.0", 1, "0.0.0.0:1", False),
        ("localhost:1", "localhost", 1, "localhost:1", True),
        ("push.example.org:443", "push.example.org", 443, "push.example.org:443", False),
    ],
)
def test_addresses(text: str, host: str, port: int, shown: str, loopback: bool) -> None:
    address = Address.parse(text)
    assert (address.host, address.port, str(address), address.loopback) == (host, port, shown, loopback)


def test_plaintext_beyond_this_machine_must_be_meant() -> None:
    with pytest.raises(SettingsError, match="BELLHOP_ALLOW_PLAINTEXT"):
        load({"BELLHOP_LISTEN": "0.0.0.0:50051"})
    allowed = load({"BELLHOP_LISTEN": "0.0.0.0:50051", "BELLHOP_ALLOW_PLAINTEXT": "true"}).settings
    assert allowed.allow_plaintext
    with_tls = {"BELLHOP_LISTEN": "0.0.0.0:50051", "BELLHOP_TLS_CERT": "c.pem", "BELLHOP_TLS_KEY": "k.pem"}
    assert load(with_tls).settings.tls_cert == Path("c.pem")


@pytest.mark.parametrize(
    "environ",
    [{"BELLHOP_TLS_CERT": "c"}, {"BELLHOP_TLS_KEY": "k"}, {"BELLHOP_TLS_CLIENT_CA": "a"}],
)
def test_half_of_tls_is_an_error(environ: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="BELLHOP_TLS_"):
        load(environ)


def test_secrets_are_not_shown() -> None:
    settings = load(
        {
            "BELLHOP_ADMIN_TOKEN": "hunter2",
            "BELLHOP_MASTER_KEY": "hunter2",
            "BELLHOP_DATABASE_URL": "postgresql://bellhop:hunter2@db/bellhop",
        }
    ).settings
    assert "hunter2" not in repr(settings)
