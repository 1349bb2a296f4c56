"""`python -m flows` is the `retrain` command."""

from flows.cli import main

main()
