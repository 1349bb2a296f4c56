"""How a command, a flow or a stage tells people what goes on."""

from collections.abc import Callable

# takes a sentence
Say = Callable[[str], None]
