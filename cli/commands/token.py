"""``controltower token``: who may send, and what."""

import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from datetime import UTC, datetime, timedelta
from typing import Final

from controltower.cli.data import LOCAL_TOKEN, DataFolder
from controltower.cli.errors import CommandError
from controltower.cli.options import Subparsers, add_action, add_command, add_json, span
from controltower.cli.settings import read_settings
from controltower.cli.shapes import Json, dumps, time_of
from controltower.cli.text import table
from controltower.collector.otlp import SIGNALS
from controltower.collector.token_file import Token, create_token, read_tokens, revoke_tokens, rotate_token

OVERLAP: Final = timedelta(hours=24)
HASH_SHOWN: Final = 8  # enough to tell two tokens of a name apart


def register(subparsers: Subparsers) -> None:
    """Add the command's parser."""
    parser = add_command(subparsers, "token", "who may send: create, list, rotate and revoke tokens")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    creating = add_action(actions, "create", "print a new token, this once")
    creating.add_argument("name", metavar="NAME", help="who gets it")
    _add_scope(creating)
    _add_expiry(creating)
    add_json(creating)
    add_json(add_action(actions, "list", "names, scopes and ends of the tokens"))
    rotating = add_action(actions, "rotate", "print another token that may do the same; the old one ends later")
    rotating.add_argument("name", metavar="NAME", help="whose token is replaced")
    rotating.add_argument(
        "--overlap", type=span, default=OVERLAP, metavar="TIME", help="the old one still counts for (default 24h)"
    )
    _add_expiry(rotating)
    add_json(rotating)
    revoking = add_action(actions, "revoke", "take every token of a name out of use at once")
    revoking.add_argument("name", metavar="NAME", help="whose tokens are revoked")


def _add_scope(parser: ArgumentParser) -> None:
    parser.add_argument("--tenant", default="", help="whose telemetry it is")
    parser.add_argument(
        "--source", action="append", default=[], metavar="NAME", help="a service.name, or the beginning of some: erp-*"
    )
    parser.add_argument("--signal", action="append", default=[], choices=SIGNALS, help="what it may send (default all)")
    parser.add_argument("--phi", action="store_true", help="patients' data: redacted before it is written")
    parser.add_argument("--scrape", action="store_true", help="reads /metrics, and sends nothing")
    parser.add_argument("--items-per-s", type=rate, metavar="N", help="spans, log records and data points; 0: no limit")
    parser.add_argument("--bytes-per-s", type=rate, metavar="N", help="bytes of bodies; 0: no limit")


def _add_expiry(parser: ArgumentParser) -> None:
    parser.add_argument("--expires", type=span, metavar="TIME", help="how long it lasts: 90d (default for ever)")


def rate(text: str) -> float:
    """Return a rate per second; 0 is no limit."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise ArgumentTypeError(f"{text!r} is not a rate; use a number, 0 for no limit")
    return value


def run(arguments: Namespace) -> int:
    """Run the action."""
    folder = DataFolder(read_settings(arguments).data)
    actions = {"create": _create, "list": _list, "rotate": _rotate, "revoke": _revoke}
    return actions[arguments.action](arguments, folder)


def _create(arguments: Namespace, folder: DataFolder) -> int:
    folder.make()
    now = datetime.now(UTC)
    if any(token.name == arguments.name and not token.expired(now) for token in _known(folder)):
        raise CommandError(
            f"There is a token of the name {arguments.name!r}; replace it with `controltower token rotate`, "
            "or end it with `controltower token revoke`."
        )
    secret = create_token(
        folder.tokens,
        arguments.name,
        arguments.tenant,
        now=now,
        sources=frozenset(arguments.source),
        signals=frozenset(arguments.signal),
        phi=arguments.phi,
        scrape=arguments.scrape,
        items_per_s=arguments.items_per_s,
        bytes_per_s=arguments.bytes_per_s,
        expires=now.replace(microsecond=0) + arguments.expires if arguments.expires else None,
    )
    return _tell(secret, arguments, folder)


def _rotate(arguments: Namespace, folder: DataFolder) -> int:
    if arguments.name == LOCAL_TOKEN:
        raise CommandError(
            "The token for senders on this machine is made by `controltower serve`: revoke it and start serve again."
        )
    return _tell(
        rotate_token(folder.tokens, arguments.name, arguments.overlap, lasts=arguments.expires), arguments, folder
    )


def _tell(secret: str, arguments: Namespace, folder: DataFolder) -> int:
    """Print the token, and nothing else unless JSON is asked for."""
    if arguments.json:
        made = [token for token in read_tokens(folder.tokens) if token.name == arguments.name][-1]
        print(dumps({**_shape(made, datetime.now(UTC)), "token": secret}))
    else:
        print(secret)
    return 0


def _list(arguments: Namespace, folder: DataFolder) -> int:
    now = datetime.now(UTC)
    tokens = sorted(_known(folder), key=lambda token: (token.name, token.expires is not None, token.hash))
    if arguments.json:
        print(dumps({"tokens": [_shape(token, now) for token in tokens]}))
    elif not tokens:
        print("No tokens yet; make one with: controltower token create NAME")
    else:
        head = ("NAME", "TENANT", "MAY", "SOURCES", "CLASS", "RATES", "CREATED", "EXPIRES", "HASH")
        print(table([_row(token, now) for token in tokens], head=head))
    return 0


def _revoke(arguments: Namespace, folder: DataFolder) -> int:
    number = revoke_tokens(folder.tokens, arguments.name) if folder.tokens.exists() else 0
    if not number:
        raise CommandError(f"There is no token of the name {arguments.name!r}; `controltower token list` shows all.")
    print(f"{number} of {arguments.name} revoked", file=sys.stderr)
    return 0


def _known(folder: DataFolder) -> list[Token]:
    return read_tokens(folder.tokens) if folder.tokens.exists() else []


def _row(token: Token, now: datetime) -> list[str]:
    may = "read /metrics" if token.scrape else "send " + (", ".join(sorted(token.signals)) or "all")
    rates = [
        f"{value:g} {unit}/s"
        for value, unit in ((token.items_per_s, "items"), (token.bytes_per_s, "bytes"))
        if value is not None
    ]
    return [
        token.name,
        token.tenant,
        may,
        ", ".join(sorted(token.sources)) or "all",
        "phi" if token.phi else "",
        ", ".join(rates),
        _day(token.created),
        _day(token.expires) + (" (over)" if token.expired(now) else ""),
        token.hash[:HASH_SHOWN],
    ]


def _shape(token: Token, now: datetime) -> dict[str, Json]:
    return {
        "name": token.name,
        "tenant": token.tenant,
        "signals": sorted(token.signals),
        "sources": sorted(token.sources),
        "phi": token.phi,
        "scrape": token.scrape,
        "items_per_s": token.items_per_s,
        "bytes_per_s": token.bytes_per_s,
        "created": time_of(token.created),
        "expires": time_of(token.expires),
        "expired": token.expired(now),
        "hash": token.hash[:HASH_SHOWN],
    }


def _day(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M}" if at else ""
