"""`retrain preview`."""

from typing import Annotated

from cyclopts import Parameter

from flows.cli.common import OK, WRONG_INPUT, AsJson, FromRevision, ParamsFile, TypedParams, given, say


def preview(
    *,
    rows: Annotated[int, Parameter(name="--rows")] = 3,
    from_revision: FromRevision = None,
    params_file: ParamsFile = None,
    as_json: AsJson = False,
    params: TypedParams = None,
) -> int:
    """Show what `retrain run` with the same options would read, before anything is trained or written.

    Files and rows, read as ingest reads them; what is rejected, and why; columns, their kinds,
    labels or numbers and lengths; the first rows; how they would be split; and of the first 1,000 train rows
    the tokens, where the base model is on this machine. The exit status is 2 where a run would stop.

    Examples: `retrain preview`,
    `retrain preview --data.path ../support.csv --data.columns.text message --data.columns.label intent`.

    Parameters
    ----------
    rows
        How many of the first rows are shown.
    from_revision
        Begin with the params of a commit, branch, tag or experiment (such as HEAD), not the checkout's.
    params_file
        A whole or partial params file, laid over params.yaml first.
    as_json
        Print JSON, with all labels and reasons.
    """
    from flows.engine import workspace
    from flows.report.preview import looked_at, show

    checkout = workspace.root()
    found = looked_at(given(from_revision, params_file, params, checkout), checkout, max(rows, 0), say)
    show(found, as_json=as_json)
    return WRONG_INPUT if found["stops"] else OK
