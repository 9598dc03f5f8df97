"""``controltower redact``: try a redaction policy on a file, check one, and make a key for tokens."""

import base64
import os
import secrets
import sys
from argparse import Namespace
from pathlib import Path
from typing import Final

from controltower.cli.errors import CommandError
from controltower.cli.options import Subparsers, add_command, add_json, positive
from controltower.cli.shapes import Json, dumps
from controltower.cli.text import table
from controltower.collector.redaction.errors import PolicyError
from controltower.collector.redaction.policy import CLASSES, default_text, load_policy
from controltower.collector.redaction.settings import POLICY_VARIABLE, Redaction, read_redaction
from controltower.collector.redaction.trial import NotTelemetryError, Trial, trial
from controltower.tracer.tokens import LEAST_KEY_BYTES

MOST_BYTES: Final = 256 * 1024 * 1024  # of a file; it is read whole


def register(subparsers: Subparsers) -> None:
    """Add the command's parser."""
    parser = add_command(subparsers, "redact", "try and check a redaction policy")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    trying = actions.add_parser("test", help="what a policy would do to a file of OTLP (JSON, protobuf) or of text")
    trying.add_argument("file", type=Path, metavar="FILE")
    trying.add_argument("--policy", type=Path, metavar="POLICY", help=f"default: {POLICY_VARIABLE}, else what ships")
    trying.add_argument("--class", dest="name", choices=CLASSES, default="phi", help="of the source (default phi)")
    trying.add_argument(
        "--tenant", default="", help="with whose key tokens are made (default: the key of every tenant)"
    )
    add_json(trying)
    checking = actions.add_parser("check", help="check policies; every problem with file, line and field")
    checking.add_argument("files", nargs="+", type=Path, metavar="POLICY")
    actions.add_parser("show", help="the policy that ships, to copy and change")
    making = actions.add_parser("key", help="make a key for the tokens of patients' numbers")
    making.add_argument("--version", type=positive, default=1, help="above that of the key before (default 1)")


def run(arguments: Namespace) -> int:
    """Run the action."""
    if arguments.action == "test":
        return _test(arguments)
    if arguments.action == "check":
        return _check(arguments.files)
    print(default_text() if arguments.action == "show" else _key(arguments.version), end="")
    return 0


def _test(arguments: Namespace) -> int:
    redaction = read_redaction(os.environ)
    if arguments.policy is not None:
        redaction = Redaction(load_policy(arguments.policy), redaction.keys)
    try:
        found = trial(_read(arguments.file), redaction, arguments.name, arguments.tenant)
    except NotTelemetryError as exc:
        raise CommandError(f"{arguments.file}: {exc}.") from exc
    print(
        dumps(_shape(found, redaction, arguments.name)) if arguments.json else _words(found, redaction, arguments.name)
    )
    return 0


def _read(file: Path) -> bytes:
    try:
        if file.stat().st_size > MOST_BYTES:
            raise CommandError(f"{file} is larger than {MOST_BYTES // 1024**2} MiB; try a part of it.")
        return file.read_bytes()
    except OSError as exc:
        raise CommandError(f"{file} cannot be read: {exc.strerror}.") from exc


def _words(found: Trial, redaction: Redaction, name: str) -> str:
    policy = redaction.policy
    title = f"{found.kind}: {found.items} items, policy {policy.policy} version {policy.version}, class {name}"
    if not found.done:
        return f"{title}\nnothing would be removed"
    rows = [[each.field, each.rule, each.name, str(each.times)] for each in found.done]
    shown = [title, table(rows, head=("FIELD", "RULE", "ATTRIBUTE", "TIMES"), right=(3,))]
    if found.lines:
        shown += ["", "as it would be stored", table([[str(at), line] for at, line in found.lines], right=(0,))]
    if any(each.rule == "no_key" for each in found.done):
        shown += [
            "",
            "no_key: there is no key for tokens, so these values would be dropped (`controltower redact key`)",
        ]
    return "\n".join(shown)


def _shape(found: Trial, redaction: Redaction, name: str) -> Json:
    policy = redaction.policy
    return {
        "policy": {"name": policy.policy, "version": policy.version, "digest": policy.digest},
        "class": name,
        "kind": found.kind,
        "items": found.items,
        "changes": [
            {"field": each.field, "rule": each.rule, "attribute": each.name, "times": each.times} for each in found.done
        ],
        "lines": [{"line": at, "stored": line} for at, line in found.lines],
    }


def _check(files: list[Path]) -> int:
    refused = False
    for file in files:
        try:
            policy = load_policy(file)
        except PolicyError as exc:
            refused = True
            print(exc, file=sys.stderr)
        else:
            print(f"{file}: policy {policy.policy} version {policy.version} is correct")
    return 1 if refused else 0


def _key(version: int) -> str:
    return f"{version}:{base64.b64encode(secrets.token_bytes(LEAST_KEY_BYTES)).decode()}\n"
