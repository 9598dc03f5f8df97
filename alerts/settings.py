"""Settings of alerting, read once at the start of the process. Argument beats environment beats default."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from controltower.alerts.addresses import Allowance, parse_allowance, parse_target
from controltower.alerts.errors import AlertSettingsError, RefusedAddressError, SecretError
from controltower.alerts.rules import Rule
from controltower.alerts.signing import FORM, decode_secret
from controltower.store.rows import SEVERITIES

WEBHOOK_URL = "CONTROLTOWER_WEBHOOK_URL"
WEBHOOK_SECRET = "CONTROLTOWER_WEBHOOK_SECRET"  # noqa: S105  # the name of a variable
WEBHOOK_ALLOW = "CONTROLTOWER_WEBHOOK_ALLOW"
ALERT_MAX_AGE = "CONTROLTOWER_ALERT_MAX_AGE"
ALERT_REPEAT = "CONTROLTOWER_ALERT_REPEAT"
ALERT_RATE = "CONTROLTOWER_ALERT_RATE"
ALERT_GROUP = "CONTROLTOWER_ALERT_GROUP"
ALERT_MIN_SEVERITY = "CONTROLTOWER_ALERT_MIN_SEVERITY"
DASHBOARD_URL = "CONTROLTOWER_DASHBOARD_URL"

# Every setting of the package: its name, its default and what it does. Each of the first two also as NAME_FILE.
SETTINGS: Mapping[str, tuple[str, str]] = {
    WEBHOOK_URL: ("", "where notifications go; without it alerts are recorded and nobody is told"),
    WEBHOOK_SECRET: ("", "what signs them: whsec_…; two, separated by a space, while the receiver changes over"),
    WEBHOOK_ALLOW: ("", "hosts (host or host:port) and networks allowed although they are not public https"),
    ALERT_MAX_AGE: ("24h", "exceptions that opened longer ago when first seen are recorded and not sent"),
    ALERT_REPEAT: ("0", "tell an alert that is still open again after this time; 0 never does"),
    ALERT_RATE: ("50", "notifications sent per minute at most; the others wait, the most severe first"),
    ALERT_GROUP: ("5", "so many exceptions with one cause within an hour are told as one; 0 tells each by itself"),
    ALERT_MIN_SEVERITY: (SEVERITIES[0], f"the least severity that is told: {', '.join(SEVERITIES)}"),
    DASHBOARD_URL: ("", "the dashboard's address, for the link in a notification"),
}
SECRETS = (WEBHOOK_URL, WEBHOOK_SECRET)
SECRET_FILE_LIMIT = 64 * 1024  # a secret is a line; more is the wrong file
RATE_LIMIT = 1_000  # one notification after another: more than this per minute no receiver takes
DURATION = re.compile(r"(\d{1,6})\s*(s|m|h|d)\Z")
UNITS = {"s": timedelta(seconds=1), "m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """What alerting is told from outside. The URL and the secrets do not show."""

    webhook_url: str = field(default="", repr=False)
    webhook_keys: tuple[bytes, ...] = field(default=(), repr=False)
    allow: Allowance = field(default_factory=Allowance)
    max_age: timedelta = timedelta(hours=24)
    repeat_every: timedelta = timedelta(0)  # 0: never
    per_minute: int = 50
    group: int = 5  # so many with one cause are told as one; 0: never
    rule: Rule = field(default_factory=Rule)
    dashboard_url: str = ""


def read_settings(environ: Mapping[str, str] | None = None, **arguments: str | None) -> AlertSettings:
    """Return the settings; raise AlertSettingsError naming the one that is refused.

    *arguments* are named like the variables in lower case without their prefix (``webhook_url="…"``); None is not given.
    """
    values = _values(os.environ if environ is None else environ, arguments)
    allow = _allow(values[WEBHOOK_ALLOW])
    url = _url(values[WEBHOOK_URL], allow)
    return AlertSettings(
        webhook_url=url,
        webhook_keys=_keys(values[WEBHOOK_SECRET], needed=bool(url)),
        allow=allow,
        max_age=_duration(ALERT_MAX_AGE, values[ALERT_MAX_AGE]),
        repeat_every=_repeat(values[ALERT_REPEAT]),
        per_minute=_rate(values[ALERT_RATE]),
        group=_group(values[ALERT_GROUP]),
        rule=Rule(min_severity=_severity(values[ALERT_MIN_SEVERITY])),
        dashboard_url=_dashboard(values[DASHBOARD_URL]),
    )


def _values(environ: Mapping[str, str], arguments: Mapping[str, str | None]) -> dict[str, str]:
    given = {f"CONTROLTOWER_{name.upper()}": value for name, value in arguments.items() if value is not None}
    unknown = sorted(given.keys() - SETTINGS.keys())
    if unknown:
        raise TypeError(f"no such setting: {unknown[0]}")
    return {
        name: (given[name] if name in given else _from_environment(environ, name) or default).strip()
        for name, (default, _) in SETTINGS.items()
    }


def _from_environment(environ: Mapping[str, str], name: str) -> str:
    value, file = environ.get(name, ""), environ.get(f"{name}_FILE", "") if name in SECRETS else ""
    if value and file:
        raise AlertSettingsError(name, f"and {name}_FILE are both set; keep one of them")
    if not file:
        return value
    try:
        with Path(file).open("rb") as opened:
            return opened.read(SECRET_FILE_LIMIT).decode()
    except (OSError, UnicodeDecodeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is not text"
        raise AlertSettingsError(f"{name}_FILE", f"names {file}, which cannot be read: {why}") from None


def _allow(text: str) -> Allowance:
    try:
        return parse_allowance(text.split(","))
    except ValueError as exc:
        raise AlertSettingsError(
            WEBHOOK_ALLOW, f"holds {str(exc)!r}, which is no host, host:port or network such as 10.0.0.0/8"
        ) from None


def _url(url: str, allow: Allowance) -> str:
    if url:
        try:
            parse_target(url, allow)
        except RefusedAddressError as exc:
            raise AlertSettingsError(WEBHOOK_URL, str(exc).replace("the allow-list", WEBHOOK_ALLOW)) from None
    return url


def _keys(text: str, *, needed: bool) -> tuple[bytes, ...]:
    if needed and not text:
        raise AlertSettingsError(WEBHOOK_SECRET, f"is missing: notifications are signed; set it to {FORM}")
    try:
        return tuple(decode_secret(secret) for secret in text.split())
    except SecretError as exc:
        raise AlertSettingsError(WEBHOOK_SECRET, str(exc)) from None


def _duration(name: str, text: str) -> timedelta:
    match = DURATION.match(text.lower())
    if match is None:
        raise AlertSettingsError(name, f"is {text!r}; write a number and s, m, h or d, such as 24h")
    return int(match[1]) * UNITS[match[2]]


def _repeat(text: str) -> timedelta:
    every = timedelta(0) if text == "0" else _duration(ALERT_REPEAT, text)
    if timedelta(0) < every < timedelta(minutes=1):
        raise AlertSettingsError(ALERT_REPEAT, f"is {text!r}; at least 1m, or 0 for never")
    return every


def _rate(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= RATE_LIMIT:
        raise AlertSettingsError(ALERT_RATE, f"is {text!r}; write a number from 1 to {RATE_LIMIT}")
    return int(text)


def _group(text: str) -> int:
    if not text.isdecimal() or int(text) == 1:
        raise AlertSettingsError(ALERT_GROUP, f"is {text!r}; write a number from 2 on, or 0 for never")
    return int(text)


def _severity(text: str) -> str:
    if text not in SEVERITIES:
        raise AlertSettingsError(ALERT_MIN_SEVERITY, f"is {text!r}; write one of {', '.join(SEVERITIES)}")
    return text


def _dashboard(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if url and (parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment):
        raise AlertSettingsError(DASHBOARD_URL, "is no address of a page; write one such as https://tower.example.org")
    return url.rstrip("/")
