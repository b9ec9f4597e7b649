"""`python -m wfkit` is the command `wfkit`."""

import sys

from wfkit.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
