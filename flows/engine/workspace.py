"""Where a run works: in the checkout itself, or in a worktree of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass, field
from dataclasses import replace as replace_fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from flows.engine.prepare import keep_models, prepare, share_bases
from flows.git import worktrees
from flows.git.commands import commit_of, refuse_without_commit, refuse_without_git
from flows.git.signatures import refuse_unsigned
from flows.git.uncommitted import uncommitted
from flows.ledger import journal, rollback
from flows.ledger.results import Experiment
from tasks.shared.entries import refuse_odd_name
from tasks.shared.errors import InputError
from tasks.shared.files import private_folder
from tasks.shared.locks import alone
from tasks.shared.params import Params
from tasks.shared.params_file import (
    PARAMS,
    Layer,
    complete,
    differences,
    in_words,
    lay_over,
    load,
    word,
    written_in,
)
from tasks.shared.say import Say

if TYPE_CHECKING:
    from flows.ledger.stages import Ledger

STAGES = ("ingest", "split", "tokenize", "train", "evaluate", "package", "judge")
# logs, databases and worktrees: nobody else's business
OURS = ".retrain"


@dataclass
class Workspace:
    """A folder in which the stages of one run work, and the params that stand in its params.yaml.

    home: the checkout it belongs to, which is the folder itself unless the run is isolated.
    given: what was laid over params.yaml. update_data: imported data was brought up to date first.
    before: what stood in dvc.lock and metrics/ when a run in the checkout itself began.
    untracked: the files that an isolated run has taken along though Git does not track them.
    name: what an isolated run is called in paths and refs.
    """

    home: Path
    root: Path
    params: Params
    say: Say
    given: Sequence[Layer] = ()
    update_data: bool = False
    before: Mapping[str, str] = field(default_factory=dict)
    untracked: tuple[str, ...] = ()
    name: str = ""

    _check: subprocess.Popen[bytes] | None = None

    @property
    def isolated(self) -> bool:
        """Whether this is a worktree of its own."""
        return self.root != self.home

    @cached_property
    def ledger(self) -> "Ledger":
        """The record of its stages, torn state repaired; DVC is imported when it is first asked."""
        from flows.ledger.running import IsolatedRun
        from flows.ledger.stages import Ledger
        from flows.ledger.torn import repair_torn

        if not self.isolated:
            repair_torn(self.root, self.say)
        isolated_run = IsolatedRun(self.home, self.root, self.name) if self.isolated else None
        return Ledger(self.root, sparse=self.isolated, say=self.say, isolated_run=isolated_run)

    def save(self, message: str) -> Experiment | None:
        """Push what the stages have made; keep an isolated run as an experiment, or find its equal."""
        # the check in the background has seen that nothing waits to be pushed either
        if not self.found_unchanged:
            self.ledger.push()
        if not self.isolated:
            return None
        from flows.ledger import experiments

        self.ledger.refuse_lost()
        # the report shows them
        self.ledger.checkout_missing(["plots/train", "plots/evaluate", "plots/judge"])
        model = self.params.model.name
        linked = [model] if model and worktrees.is_link(model, self.root, self.home) else []
        own = self.ledger.kept_in_git()
        untracked = [path for path in self.untracked if path not in own]
        saved = experiments.save(self.root, self.name, message, leave_out=linked, untracked=untracked)
        if saved.is_new:
            self.say(f"saved as experiment {saved.name}")
            experiments.keep_for_show(self.home, saved)
        else:
            self.say(f"nothing new: this run equals {saved.name}, which is there already")
        experiments.push(self.ledger.repo, self.home, saved, self.say)
        return saved

    def keep(self) -> None:
        """Let what the run has made of the checkout stay."""
        journal.discard(self.root)

    def check_in_background(self) -> None:
        """Begin to find out in another process whether a stage has changed, while Prefect is imported."""
        command = [sys.executable, "-m", "flows.ledger"]
        self._check = subprocess.Popen(command, cwd=self.root, stdin=subprocess.DEVNULL)  # noqa: S603 (our own module)

    @cached_property
    def found_unchanged(self) -> bool:
        """Whether the check in the background has found every stage unchanged; False when there was none."""
        return self._check is not None and self._check.wait() == 0


def root() -> Path:
    """Return the folder above (or at) the current one that holds dvc.yaml."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "dvc.yaml").exists():
            for part in (folder, *folder.parents):
                refuse_odd_name(part)
            if (folder / OURS).is_dir():
                private_folder(folder / OURS)
            return folder
    raise InputError(
        f"there is no dvc.yaml in {here} or above it; change into a clone of the retrain repository"
    )


@contextmanager
def in_place(given: Sequence[Layer], say: Say, *, update_data: bool) -> Iterator[Workspace]:
    """Work in the checkout itself, one run at a time; unless the workspace is kept, all is undone in the end.

    given: what is laid over its params.yaml, and stays there.
    """
    checkout = root()
    os.chdir(checkout)
    refuse_without_git(checkout)
    private_folder(checkout / OURS)
    with alone(
        checkout / journal.RUN_LOCK, lambda who: say(f"waiting for another run in this checkout ({who})")
    ):
        rollback.undo(checkout, say, journal.DEAD)
        worktrees.remove_dead(checkout, say)
        texts = journal.Journal.begin(checkout).texts
        before = {name: text for name, text in texts.items() if text is not None}
        try:
            standing = written_in(checkout / PARAMS)
            params = prepare(lay_over(standing, *given), checkout, checkout, say, update_data=update_data)
            if changed := differences(complete(standing), params.model_dump()):
                say(f"{PARAMS}: {in_words(changed)}")
            yield Workspace(checkout, checkout, params, say, given, update_data, before)
        finally:
            rollback.undo(checkout, say, "this run")


@contextmanager
def isolated(given: Layer, name: str, say: Say, *, update_data: bool) -> Iterator[Workspace]:
    """Work in a worktree of its own at the checkout's commit, on the same DVC cache.

    What is uncommitted is taken along.

    given: what is laid over the params.yaml that stands in the checkout now.
    """
    from flows.ledger.data import refuse_changed_data
    from flows.ledger.running import IsolatedRun

    home = _checkout(say)
    unfinished = journal.Journal.of(home)
    taken = uncommitted(home, say)
    # one may have begun in between
    unfinished = unfinished or journal.Journal.of(home)
    with _worktree(home, name, commit_of(home, "HEAD"), taken.tree) as folder:
        if unfinished is not None:
            say("another run is under way in the checkout: this one starts from what stood there before it")
            replace_fields(unfinished, root=folder).restore()
        standing = written_in(folder / PARAMS)
        params = lay_over(standing, given)
        for param, old, new in differences(complete(standing), params.model_dump()):
            say(f"given: {param} {word(new)} ({PARAMS}: {word(old)})")
        refuse_changed_data(home, params.data.path, say)
        _share(home, folder)
        with chdir(folder):
            params = prepare(params, folder, home, say, update_data=update_data)
            with IsolatedRun(home, folder, name).marked():
                yield Workspace(
                    home, folder, params, say, [given], update_data, untracked=taken.untracked, name=name
                )


@contextmanager
def at_revision(revision: str, name: str, say: Say) -> Iterator[tuple[Workspace, str]]:
    """Yield a clean worktree at a commit, branch, tag or experiment, as it was committed, and that commit."""
    from flows.ledger.experiments import commit_named
    from flows.ledger.running import IsolatedRun

    home = _checkout(say)
    commit = commit_named(home, revision)
    refuse_unsigned(home, commit)
    with _worktree(home, name, commit) as folder, chdir(folder):
        params = load(folder / PARAMS)
        share_bases(params.model, folder, home)
        keep_models(params, home, say)
        with IsolatedRun(home, folder, name).marked():
            yield Workspace(home, folder, params, say, name=name), commit


def _checkout(say: Say) -> Path:
    """Return the checkout, from which a worktree can be made, once what dead runs have left there is gone."""
    home = root()
    refuse_without_commit(home, say)
    private_folder(home / OURS)
    rollback.recover(home, say)
    worktrees.remove_dead(home, say)
    return home


@contextmanager
def _worktree(home: Path, name: str, commit: str, tree: str | None = None) -> Iterator[Path]:
    from flows.ledger.sharing import share_cache

    with worktrees.worktree(home, name, commit, tree) as folder:
        share_cache(home, folder)
        yield folder


def _share(home: Path, folder: Path) -> None:
    """Let a later run go on from what trainings in a worktree leave.

    Checkpoints, what stages took, what a frozen encoder answered, what trackers are told.
    """
    (folder / OURS).mkdir()
    for name in ("checkpoints", "costs", "encoded", "trackers"):
        shared = private_folder(home / OURS / name)
        (folder / OURS / name).symlink_to(shared)
