"""``controltower doctor``: check this installation."""

from argparse import Namespace

from controltower.cli.checks import Check, Status, checks
from controltower.cli.options import Subparsers, add_command, add_json
from controltower.cli.settings import read_settings
from controltower.cli.shapes import dumps


def register(subparsers: Subparsers) -> None:
    """Add the command's parser."""
    add_json(add_command(subparsers, "doctor", "check this installation"))


def run(arguments: Namespace) -> int:
    """Print every finding with what to do about it; end with 1 when something fails."""
    found = []
    for check in checks(read_settings(arguments)):
        found.append(check)
        if not arguments.json:
            print(_line(check), flush=True)
    failed = any(check.status is Status.FAIL for check in found)
    if arguments.json:
        shape = [
            {"name": check.name, "status": check.status.value, "detail": check.detail, "todo": check.todo}
            for check in found
        ]
        print(dumps({"ok": not failed, "checks": shape}))
    return 1 if failed else 0


def _line(check: Check) -> str:
    todo = f"\n      {'':12}  → {check.todo}" if check.todo else ""
    return f"{check.status:4}  {check.name:12}  {check.detail}{todo}"
