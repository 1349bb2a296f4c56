"""`retrain problems`."""

from flows.cli.common import OK, AsJson
from tasks.shared.errors import InputError, did_you_mean
from tasks.shared.params import problem_names


def problems(
    name: str | None = None,
    /,
    *,
    as_json: AsJson = False,
) -> int:
    """List what a model can learn: each problem's columns, a row of it, what is measured, how it is served.

    Of one problem also all example rows, the file formats that it reads itself, what it has to tune, and the
    params files in `examples/` that are for it.

    Examples: `retrain problems`, `retrain problems question_answering`.

    Parameters
    ----------
    name
        Show this problem in full; none for a list of all.
    as_json
        Print JSON: a list, with all that there is to know of each.
    """
    from flows.report.problems import listed, show, told

    if name is None:
        show(listed(), whole=False, as_json=as_json)
        return OK
    own, there = name.replace("-", "_"), problem_names()
    if own not in there:
        raise InputError(f"there is no problem '{name}'{did_you_mean(own, there)} Known: {', '.join(there)}")
    show([told(own)], whole=True, as_json=as_json)
    return OK
