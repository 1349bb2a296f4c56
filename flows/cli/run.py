"""`retrain run`: it decides whether there is anything to do before it imports Prefect."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flows.cli.common import OK, Flag, FromRevision, ParamsFile, TypedParams, given, say
from flows.cli.session import Session
from tasks.shared.params_file import PARAMS, Layer, as_read, lay_over, written_in

if TYPE_CHECKING:
    from flows.engine.workspace import Workspace


def run(
    *,
    from_revision: FromRevision = None,
    params_file: ParamsFile = None,
    isolated: Flag = False,
    update_data: Flag = False,
    once: Flag = False,
    params: TypedParams = None,
) -> int:
    """Bring the model up to date: ingest, split, tokenize, train, evaluate, package, judge.

    What is given here is laid over params.yaml and stays there when the run succeeds, so `dvc repro` does the
    same. A run that fails or is interrupted leaves params.yaml, metrics and the last model as they were.

    Examples: `retrain run --train.epochs 2`,
    `retrain run --data.path ../support.csv --data.columns.text message`,
    `retrain run --params examples/banking77.yaml --data.path ../banking77`.

    Short forms: `--epochs`, `--lr`, `--batch-size`, `--model NAME`, `--data PATH`; a param whose name only
    one section has needs no section: `--max-steps 20`. `none` empties what may be empty:
    `--model.revision none`.

    Parameters
    ----------
    from_revision
        Begin with the params of a commit, branch, tag or experiment (such as HEAD), not the checkout's.
    params_file
        A whole or partial params file, laid over params.yaml first.
    isolated
        Work in a Git worktree, as a deployment does: the checkout stays as it is, and the run is saved as a
        DVC experiment.
    update_data
        Take in the newer state of imported data first, as `dvc update` does.
    once
        Leave params.yaml, dvc.lock, metrics and the model as they were. What was computed stays in the cache:
        without `--once` the same command restores it.
    """
    from flows.engine import workspace

    checkout = workspace.root()
    layers = given(from_revision, params_file, params, checkout)
    session = Session(checkout)
    if isolated:
        return _isolated(layers, session, update_data=update_data)
    with workspace.in_place(layers, say, update_data=update_data) as space:
        return _in_place(space, session, stays=not once)


def _isolated(layers: Sequence[Layer], session: Session, *, update_data: bool) -> int:
    """Run in a worktree, after telling at once what is wrong with what was given."""
    from flows.engine.data import located
    from flows.engine.prepare import refuse_unknown_names

    checkout = session.checkout
    wanted = lay_over(written_in(checkout / PARAMS), *layers)
    located(wanted, checkout, checkout, isolated=True)
    refuse_unknown_names(wanted)
    session.start()
    from flows.report.summary import show
    from flows.retrain import retrain

    summary, status = session.run(lambda: retrain(as_read(layers, wanted), update_data, return_state=True))
    if summary is not None:
        show(summary)
    return status


def _in_place(space: "Workspace", session: Session, *, stays: bool) -> int:
    """Run in the checkout; Prefect and its server are needed only when there is something to do."""
    if session.has_server:
        space.check_in_background()
    elif space.ledger.unchanged():
        return _nothing_to_do(space, session, stays=stays)
    from flows.engine.processes import Processes

    with Processes(space.root) as processes:
        if not session.has_server:
            session.start()
            # something has changed, and Prefect takes as long to start its server as torch to import
            processes.start()
        from flows.engine.prepare import refuse_unknown_names
        from flows.pipeline import retrain_in
        from flows.report.summary import show

        # params.yaml may have been edited by hand
        if not space.found_unchanged:
            refuse_unknown_names(space.params)
        summary, status = session.run(lambda: retrain_in(space, processes))
    # before it is told: nobody may read it any more
    if status == OK and stays:
        space.keep()
    if summary is not None:
        show(summary, stays=stays)
    return status


def _nothing_to_do(space: "Workspace", session: Session, *, stays: bool) -> int:
    """Say that every stage is unchanged; neither Prefect nor its server is needed for that."""
    from flows.ledger.results import Result
    from flows.report.costs import likely
    from flows.report.summary import Summary, measured, show

    if session.fault:
        say(f"warning: there is nothing to do, and no server to tell so: {session.fault}")
    space.ledger.push()
    results = dict.fromkeys(space.ledger.stages, str(Result.unchanged))
    known = likely(space.home, space.root, space.params)
    if stays:
        space.keep()
    show(Summary(results, {}, measured(space.root), likely=known), stays=stays)
    return OK
