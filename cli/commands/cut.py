"""``controltower cut``: say that two keys, or a step and a key, do not belong together."""

from argparse import Namespace

from controltower.cli.correcting import add_decision, decide
from controltower.cli.options import Subparsers, add_command
from controltower.store.rows import CorrectionAction


def register(subparsers: Subparsers) -> None:
    """Add the command's parser."""
    add_decision(add_command(subparsers, "cut", "say that two keys, or a step and a key, do not belong together"))


def run(arguments: Namespace) -> int:
    """Record the correction, or its undoing."""
    return decide(arguments, CorrectionAction.CUT)
