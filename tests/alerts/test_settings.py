"""Settings are read once, and a bad one is refused by its name."""

from datetime import timedelta
from pathlib import Path

import pytest

from controltower.alerts.errors import AlertSettingsError
from controltower.alerts.rules import Rule
from controltower.alerts.settings import SETTINGS, AlertSettings, read_settings
from controltower.alerts.signing import decode_secret
from tests.alerts.conftest import SECRET

ROOT = Path(__file__).resolve().parents[2]
URL = "https://hooks.example.com/T0KEN?key=T0KEN"


def test_without_settings_nobody_is_told() -> None:
    """The defaults stand for themselves, and name no receiver."""
    assert read_settings({}) == AlertSettings()


def test_everything_can_be_set() -> None:
    """Each variable ends up where it belongs."""
    settings = read_settings(
        {
            "CONTROLTOWER_WEBHOOK_URL": f" {URL} ",
            "CONTROLTOWER_WEBHOOK_SECRET": f"{SECRET} {SECRET[6:]}",
            "CONTROLTOWER_WEBHOOK_ALLOW": "receiver.intra:8080, 10.0.0.0/8",
            "CONTROLTOWER_ALERT_MAX_AGE": "90m",
            "CONTROLTOWER_ALERT_REPEAT": "4h",
            "CONTROLTOWER_ALERT_RATE": "7",
            "CONTROLTOWER_ALERT_MIN_SEVERITY": "warning",
            "CONTROLTOWER_DASHBOARD_URL": "http://localhost:8501/",
        }
    )

    assert settings.webhook_url == URL
    assert settings.webhook_keys == (decode_secret(SECRET),) * 2
    assert settings.allow.names("receiver.intra", 8080)
    assert (settings.max_age, settings.repeat_every) == (timedelta(minutes=90), timedelta(hours=4))
    assert (settings.per_minute, settings.rule) == (7, Rule(min_severity="warning"))
    assert settings.dashboard_url == "http://localhost:8501"


def test_an_argument_beats_the_environment() -> None:
    """Argument, then environment, then default; None is not given, and empty is."""
    environ = {"CONTROLTOWER_ALERT_RATE": "7", "CONTROLTOWER_DASHBOARD_URL": "http://a.example"}

    assert read_settings(environ, alert_rate="9", dashboard_url="").per_minute == 9
    assert read_settings(environ, alert_rate="9", dashboard_url="").dashboard_url == ""
    assert read_settings(environ, alert_rate=None).per_minute == 7
    with pytest.raises(TypeError, match="CONTROLTOWER_NO_SUCH"):
        read_settings({}, no_such="1")


def test_secrets_can_come_from_files(tmp_path: Path) -> None:
    """The URL and the secret can be read from a file; from both places is a mistake, and so is a missing file."""
    url, secret = tmp_path / "url", tmp_path / "secret"
    url.write_text(f"{URL}\n", encoding="utf-8")
    secret.write_text(f"{SECRET}\n", encoding="utf-8")
    environ = {"CONTROLTOWER_WEBHOOK_URL_FILE": str(url), "CONTROLTOWER_WEBHOOK_SECRET_FILE": str(secret)}

    settings = read_settings(environ)

    assert (settings.webhook_url, settings.webhook_keys) == (URL, (decode_secret(SECRET),))
    with pytest.raises(AlertSettingsError, match="both set"):
        read_settings({**environ, "CONTROLTOWER_WEBHOOK_SECRET": SECRET})
    with pytest.raises(AlertSettingsError, match=r"CONTROLTOWER_WEBHOOK_URL_FILE names .* cannot be read"):
        read_settings({"CONTROLTOWER_WEBHOOK_URL_FILE": str(tmp_path / "none")})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WEBHOOK_URL", "http://hooks.example.com/T0KEN"),
        ("WEBHOOK_URL", "https://user:T0KEN@hooks.example.com/"),
        ("WEBHOOK_URL", "https://127.0.0.1/T0KEN"),
        ("WEBHOOK_URL", "https://2130706433/T0KEN"),
        ("WEBHOOK_URL", "hooks.example.com/T0KEN"),
        ("WEBHOOK_SECRET", "T0KEN"),
        ("WEBHOOK_SECRET", ""),
        ("WEBHOOK_ALLOW", "http://localhost"),
        ("ALERT_MAX_AGE", "yesterday"),
        ("ALERT_MAX_AGE", "-1h"),
        ("ALERT_MAX_AGE", "24"),
        ("ALERT_REPEAT", "5s"),
        ("ALERT_RATE", "0"),
        ("ALERT_RATE", "many"),
        ("ALERT_RATE", "1001"),
        ("ALERT_MIN_SEVERITY", "critical"),
        ("DASHBOARD_URL", "tower.example"),
        ("DASHBOARD_URL", "https://[::1"),
        ("DASHBOARD_URL", "javascript:alert(1)"),
    ],
)
def test_a_bad_value_is_refused_by_its_name(name: str, value: str) -> None:
    """The message starts with the variable's name and never shows a secret."""
    variable = f"CONTROLTOWER_{name}"
    environ = {"CONTROLTOWER_WEBHOOK_URL": URL, "CONTROLTOWER_WEBHOOK_SECRET": SECRET, variable: value}

    with pytest.raises(AlertSettingsError) as refused:
        read_settings(environ)

    assert str(refused.value).startswith(f"{variable} ")
    assert "T0KEN" not in str(refused.value)


def test_secrets_do_not_show() -> None:
    """Neither the receiver's address nor the keys are in what the settings say about themselves."""
    settings = read_settings({"CONTROLTOWER_WEBHOOK_URL": URL, "CONTROLTOWER_WEBHOOK_SECRET": SECRET})

    assert "T0KEN" not in repr(settings)
    assert repr(settings.webhook_keys[0])[2:10] not in repr(settings)


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_is_documented(name: str) -> None:
    """The page about alerts names every variable with its default."""
    page = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")
    default = SETTINGS[name][0]

    assert f"`{name}`" in page
    assert not default or f"| `{name}` | `{default}` |" in page
