"""``python -m controltower.cli``: the command, where its script is not on PATH."""

import sys

from controltower.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
