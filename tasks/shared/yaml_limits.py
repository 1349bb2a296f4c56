"""YAML that others have written, looked at first: how deep it is, and what its aliases unfold to."""

import yaml

# levels, far more than params or stages have; what is built of 100,000 ends the process
DEEPEST = 50
# values; aliases of aliases make millions of a few lines
MOST = 100_000
# characters
LONGEST = 10_000_000


def why_not(text: str, *, aliases: bool = True) -> str | None:
    """Return why YAML text is not to be read, or None where nothing speaks against it.

    aliases: it may have some; no program writes them.
    """
    if len(text) > LONGEST:
        return f"longer than {LONGEST} characters"
    counted = _Counted()
    try:
        for event in yaml.parse(text, yaml.CSafeLoader):
            if isinstance(event, yaml.AliasEvent) and not aliases:
                return "with aliases, which no program writes"
            counted.take(event)
            if counted.values > MOST:
                return f"its aliases unfold to more than {MOST} values, or it holds as many"
            if counted.depth > DEEPEST:
                return f"nested more than {DEEPEST} levels deep"
    except yaml.YAMLError as error:
        # without aliases, whoever reads it says better what is wrong
        return f"not valid YAML: {' '.join(str(error).split())}" if "*" in text else None
    return None


class _Counted:
    """The values of a text so far, those of an alias counted each time."""

    def __init__(self) -> None:
        # for each collection that is open: its anchor, and the values in it
        self.opened: list[tuple[str | None, int]] = [(None, 0)]
        self.of_anchor: dict[str, int] = {}

    @property
    def depth(self) -> int:
        return len(self.opened) - 1

    @property
    def values(self) -> int:
        """Return the values in the collection that is open."""
        return self.opened[-1][1]

    def take(self, event: yaml.Event) -> None:
        """Count what comes next."""
        if isinstance(event, yaml.CollectionStartEvent):
            self.opened.append((event.anchor, 1))
        elif isinstance(event, yaml.CollectionEndEvent):
            self._add(*self.opened.pop())
        elif isinstance(event, yaml.ScalarEvent):
            self._add(event.anchor, 1)
        elif isinstance(event, yaml.AliasEvent):
            # one that is open still would hold itself, without end
            self._add(None, self.of_anchor.get(str(event.anchor), MOST + 1))

    def _add(self, anchor: str | None, values: int) -> None:
        if anchor is not None:
            self.of_anchor[anchor] = values
        around, before = self.opened[-1]
        self.opened[-1] = (around, before + values)
