"""The command line: one file a command group, and one boundary where errors become messages."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of ``watchword``. Deliberate errors print their message and exit with their own status."""
    from watchword.cli.app import run

    sys.exit(run(sys.argv[1:]))
