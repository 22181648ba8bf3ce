"""``python -m watchword``: the command line, where its script is not on the path."""

from watchword.cli import main

main()
