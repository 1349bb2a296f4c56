"""`retrain plan`."""

from flows.cli.common import FAILED, OK, AsJson, Flag, FromRevision, ParamsFile, TypedParams, given, say


def plan(
    *,
    from_revision: FromRevision = None,
    params_file: ParamsFile = None,
    isolated: Flag = False,
    as_json: AsJson = False,
    exit_code: Flag = False,
    params: TypedParams = None,
) -> int:
    """Say what `retrain run` with the same options would do for each stage, and why.

    Starts nothing, and writes nothing unless a run that was killed here is still to be undone. A stage is
    unchanged, restorable (its outputs are in the cache) or stale (it would run).

    Examples: `retrain plan`, `retrain plan --train.epochs 2`,
    `retrain plan --params examples/banking77.yaml --data.path ../banking77`.

    Parameters
    ----------
    from_revision
        Begin with the params of a commit, branch, tag or experiment (such as HEAD), not the checkout's.
    params_file
        A whole or partial params file, laid over params.yaml first.
    isolated
        Plan for a run in a Git worktree of its own, which needs no outputs checked out.
    as_json
        Print JSON, with all reasons.
    exit_code
        End with status 1 when a stage would run, as `git diff --exit-code` does; restoring does not count.
    """
    from flows.engine import workspace
    from flows.report.plan import foresee, show

    checkout = workspace.root()
    foreseen = foresee(given(from_revision, params_file, params, checkout), checkout, say, isolated=isolated)
    show(foreseen, as_json=as_json)
    return FAILED if exit_code and foreseen.to_run else OK
