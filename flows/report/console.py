"""Where commands print tables: rich on a terminal, plain elsewhere."""

from rich.console import Console


def printing(width: int = 100) -> Console:
    """Return the console of standard output, as wide as its terminal, or so many columns where there is none.

    Names that others have chosen are no markup.
    """
    return Console(highlight=False, markup=False, width=None if Console().is_terminal else width)
