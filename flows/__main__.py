"""`python -m flows` is the `retrain` command."""

from flows.cli.signals import ends_in_order


def main() -> None:
    """Run the command line; from here on, an interruption is one sentence: imports take a while."""
    with ends_in_order():
        from flows.cli.app import main as command

        command()


if __name__ == "__main__":
    main()
