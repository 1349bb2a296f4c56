"""Documents from Jinja2 templates: text that is put into one is shown as just that text."""

from pathlib import Path
from typing import Any

from tasks.shared.markup import Markdown, code, plain
from tasks.shared.verdict import number, spelled


def render(template: Path, **values: Any) -> str:
    """Return a Markdown document.

    Every value but a number comes out through `plain`, unless it is Markdown already. Filters beside
    Jinja2's own: `code` for a name to be copied, `plain(80)` to cut, `number` for a score, `spelled` for
    its interval. Raises jinja2.UndefinedError where the template names what is not there.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent),
        # it would escape for HTML
        autoescape=False,  # noqa: S701 (what is put in is escaped for Markdown)
        finalize=_shown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"code": code, "plain": plain, "number": number, "spelled": spelled}
    return environment.get_template(template.name).render(values)


def _shown(value: Any) -> Any:
    return value if isinstance(value, Markdown | int | float) else plain(str(value))
