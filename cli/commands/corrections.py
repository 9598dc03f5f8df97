"""``controltower corrections``: what people cut, confirmed and waived, and whether it holds."""

from argparse import Namespace

from controltower.cli.opening import reading
from controltower.cli.options import Subparsers, add_command, add_json
from controltower.cli.settings import read_settings
from controltower.cli.shapes import decided_of, dumps
from controltower.cli.text import correction_text, table
from controltower.store.read import corrections


def register(subparsers: Subparsers) -> None:
    """Add the command's parser."""
    parser = add_command(subparsers, "corrections", "what people cut, confirmed and waived, and whether it holds")
    parser.add_argument("--holding", action="store_true", help="only those that hold")
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Print the corrections in order of time; nothing of them is ever removed."""
    settings = read_settings(arguments)
    with reading(settings) as client:
        found = [one for one in corrections(client) if one.state == "holds" or not arguments.holding]
    if arguments.json:
        print(dumps({"corrections": [decided_of(one) for one in found]}))
    elif found:
        print(table([[one.state, correction_text(one.correction)] for one in found]))
    else:
        print("Nothing was corrected.")
    return 0
