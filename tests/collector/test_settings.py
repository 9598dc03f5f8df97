"""Settings: where they come from, and which are refused."""

import pytest

from controltower.collector.errors import SettingsError, UnknownSettingError
from controltower.collector.settings import Settings, read_settings


def test_argument_beats_environment_beats_default() -> None:
    """The one order of precedence."""
    environment = {"CONTROLTOWER_COLLECTOR_PORT": "1", "CONTROLTOWER_COLLECTOR_DEADLINE_S": "2.5"}
    settings = read_settings(environment, port=2, host=None)

    assert (settings.port, settings.deadline_s, settings.host) == (2, 2.5, "127.0.0.1")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        ("PORT", "70000"),
        ("BODY_BYTES", "0"),
        ("BODY_BYTES", "64MiB"),
        ("DEADLINE_S", "-1"),
        ("DEADLINE_S", "nan"),
        ("SEGMENT_AGE_S", "inf"),
        ("INSECURE", "maybe"),
        ("HOST", "0.0.0.0"),
        ("TLS_KEY", "key.pem"),
        ("JOURNAL_RESERVE_BYTES", "-1"),
    ],
)
def test_a_bad_value_refuses_to_start_by_name(name: str, value: str) -> None:
    """The error is one sentence with the variable's name."""
    with pytest.raises(SettingsError, match=r"^CONTROLTOWER_COLLECTOR_\w+='.*' is refused: .*\.$"):
        read_settings({f"CONTROLTOWER_COLLECTOR_{name}": value})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_nothing(host: str) -> None:
    """On this machine tokens cross no network."""
    assert Settings(host=host).host == host


def test_beyond_loopback_needs_tls_or_a_word() -> None:
    """Tokens never cross a network in clear text by mistake."""
    with pytest.raises(SettingsError, match="clear text"):
        Settings(host="0.0.0.0")

    assert Settings(host="0.0.0.0", insecure=True)
    assert Settings(host="0.0.0.0", tls_certificate="c.pem", tls_key="k.pem")


def test_keys_do_not_show() -> None:
    """A setting that is a secret is not in what is printed of the settings."""
    assert "hush" not in repr(read_settings({"CONTROLTOWER_COLLECTOR_JOURNAL_KEY": "hush"}))


def test_no_reserve_is_a_choice() -> None:
    """Zero is a value where it has a meaning."""
    assert read_settings({"CONTROLTOWER_COLLECTOR_JOURNAL_RESERVE_BYTES": "0"}).journal_reserve_bytes == 0


def test_an_unknown_argument_is_a_mistake_of_the_caller() -> None:
    """Misspelt settings do not vanish."""
    with pytest.raises(TypeError, match="prot"):
        read_settings({}, prot=1)


@pytest.mark.parametrize(
    ("name", "close"), [("BODY_BYTE", "BODY_BYTES"), ("JOURNAL_KEYS", "JOURNAL_KEY"), ("TOKEN", "JOURNAL_KEY")]
)
def test_a_variable_that_is_no_setting_refuses_to_start(name: str, close: str) -> None:
    """A misspelt limit is not no limit; the closest name is told, and never the value, which may be a secret."""
    with pytest.raises(UnknownSettingError) as told:
        read_settings({f"CONTROLTOWER_COLLECTOR_{name}": "hunter2", "CONTROLTOWER_WEBHOOK_URL": ""})

    assert f"CONTROLTOWER_COLLECTOR_{name} is not a setting" in str(told.value)
    assert "hunter2" not in str(told.value)
    assert close in str(told.value) or name == "TOKEN"


def test_nothing_prints_a_secret() -> None:
    """The settings can be logged as they are."""
    assert "hunter2" not in repr(Settings(journal_key="hunter2"))
