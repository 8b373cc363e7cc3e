"""`python -m chainrule`: the command line, as the `chainrule` script runs it."""

from __future__ import annotations

import sys

from chainrule.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
