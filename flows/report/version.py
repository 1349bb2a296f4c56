"""The card of a version: its package's own, and what the registry says of it, which no package can know."""

from pathlib import Path

from flows.registry.tags import Registry, Version, signatures
from tasks.shared.templates import render

TEMPLATE = Path(__file__).parent / "templates/version.md.j2"
TITLE = "\n# "


def card(known: Registry, version: Version, package: str) -> str:
    """Return the model card of a version as Markdown.

    package: the package's README.md. What the tags say stands behind its title and before all else.
    """
    its = (version.name, version.commit)
    assignments = [one for one in known.assignments if (one.name, one.commit) == its]
    stages = [one for one in assignments if known.champion(one.name, one.stage) == one]
    said = render(
        TEMPLATE,
        version=version,
        record=version.record,
        assignments=assignments,
        stages=stages,
        is_signed=bool(signatures(known, version)),
    )
    head, title, rest = package.partition(TITLE)
    if not title:
        return f"{package}\n{said}"
    name, _, text = rest.partition("\n")
    return f"{head}{title}{name}\n\n{said}{text}"
