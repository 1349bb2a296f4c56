"""Where a run works, and what it is given: in the checkout itself or in a worktree of its own; params written down, data versioned."""

import os
import shlex
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, contextmanager
from dataclasses import dataclass, field
from dataclasses import replace as replace_fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from flows.git import commands, worktrees
from flows.git.signatures import refuse_unsigned
from flows.git.uncommitted import uncommitted
from flows.ledger import journal, rollback
from flows.ledger.results import Experiment
from flows.ledger.sources import Pattern, expand_home, is_url, leads_out, name_in_raw, pattern_in, refuse_around
from tasks import problems
from tasks.shared import base_models
from tasks.shared.entries import refuse_odd_entries, refuse_odd_name
from tasks.shared.errors import InputError, did_you_mean, refuse_secret
from tasks.shared.files import private_folder, read_json, replace
from tasks.shared.locks import alone
from tasks.shared.params import Params
from tasks.shared.params_file import PARAMS, differences, in_words, lay_over, load, word, written
from tasks.shared.params_file import given as checked

if TYPE_CHECKING:
    from flows.ledger.stages import Ledger

STAGES = ("ingest", "split", "tokenize", "train", "evaluate", "package")
OURS = ".retrain"  # logs, databases and worktrees: nobody else's business
SECONDS = ".retrain/seconds.json"  # how long each stage took when it last ran
Say = Callable[[str], None]
Given = Mapping[str, Any]  # some of the params, by section


@dataclass
class Workspace:
    """A folder in which the stages of one run work, and the params that stand in its params.yaml.

    home: the checkout it belongs to, which is the folder itself unless the run is isolated.
    before: what stood in dvc.lock and metrics/ when a run in the checkout itself began.
    untracked: the files that an isolated run has taken along though Git does not track them.
    name: what an isolated run is called in paths and refs.
    """

    home: Path
    root: Path
    params: Params
    say: Say
    before: Mapping[str, str] = field(default_factory=dict)
    untracked: tuple[str, ...] = ()
    name: str = ""

    _ahead: subprocess.Popen[bytes] | None = None

    entered: "ClassVar[Workspace | None]" = None  # the checkout, when the command line has prepared it for the flow

    @property
    def isolated(self) -> bool:
        """Whether this is a worktree of its own."""
        return self.root != self.home

    @cached_property
    def ledger(self) -> "Ledger":
        """The record of its stages, torn state mended; DVC is imported when it is first asked."""
        from flows.ledger.running import IsolatedRun
        from flows.ledger.stages import Ledger
        from flows.ledger.torn import repair_torn

        if not self.isolated:
            repair_torn(self.root, self.say)
        isolated_run = IsolatedRun(self.home, self.root, self.name) if self.isolated else None
        return Ledger(self.root, sparse=self.isolated, say=self.say, isolated_run=isolated_run)

    def save(self, message: str) -> Experiment | None:
        """Keep an isolated run as an experiment, or find the one it equals, and have what its report shows checked out; share it."""
        if not self.nothing_to_do:  # whoever looked ahead saw to it that nothing waits to be sent either
            self.ledger.push()
        if not self.isolated:
            return None
        from flows.ledger.experiments import push
        from flows.ledger.experiments import save as save_experiment

        self.ledger.refuse_lost()
        self.ledger.checkout_missing(["plots/train", "plots/evaluate"])
        linked = [path for path in (self.params.model.name,) if worktrees.is_link(path, self.root, self.home)]
        own = self.ledger.kept_in_git()
        untracked = [path for path in self.untracked if path not in own]
        saved = save_experiment(self.root, self.name, message, leave_out=linked, untracked=untracked)
        self.say(f"saved as experiment {saved.name}" if saved.is_new else f"nothing new: this run equals {saved.name}, which is there already")
        push(self.ledger.repo, self.home, saved, self.say)
        return saved

    def keep(self) -> None:
        """Let what the run has made of the checkout stay."""
        journal.discard(self.root)

    def look_ahead(self) -> None:
        """Begin to find out, in a process of its own, whether there is anything to do: it takes as long as Prefect takes to import."""
        self._ahead = subprocess.Popen([sys.executable, "-m", "flows.ledger"], cwd=self.root, stdin=subprocess.DEVNULL)

    @cached_property
    def nothing_to_do(self) -> bool:
        """Whether a look ahead has found every stage unchanged; False when there was none."""
        return self._ahead is not None and self._ahead.wait() == 0


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
    raise InputError(f"there is no dvc.yaml in {here} or above it; change into a clone of the retrain repository")


@contextmanager
def of_this_run(given: Given, update_data: bool, name: str, say: Say) -> Iterator[Workspace]:  # noqa: FBT001
    """Yield the workspace that the command line has entered for the flow it calls, else a worktree of the run's own."""
    if Workspace.entered is not None:
        Workspace.entered.say = say
        yield Workspace.entered
    else:
        with isolated(given, update_data, name, say) as workspace:
            yield workspace


@contextmanager
def in_place(given: Given, update_data: bool, say: Say) -> Iterator[Workspace]:  # noqa: FBT001
    """Work in the checkout itself, one run at a time; unless the workspace is kept, all is as before in the end.

    given: what is laid over its params.yaml, and stays there.
    """
    checkout = root()
    os.chdir(checkout)
    commands.refuse_without_git(checkout)
    private_folder(checkout / OURS)
    with alone(checkout / journal.RUN_LOCK, lambda who: say(f"waiting for another run in this checkout ({who})")):
        rollback.undo(checkout, say, journal.DEAD)
        worktrees.remove_dead(checkout, say)
        texts = journal.Journal.begin(checkout).texts
        before = {name: text for name, text in texts.items() if text is not None}
        try:
            standing = load(checkout / PARAMS)
            params = prepare(lay_over(standing, given, "command line"), update_data, checkout, checkout, say)
            if changed := differences(standing.model_dump(), params.model_dump()):
                say(f"{PARAMS}: {in_words(changed)}")
            Workspace.entered = Workspace(checkout, checkout, params, say, before)
            yield Workspace.entered
        finally:
            Workspace.entered = None
            rollback.undo(checkout, say, "this run")


@contextmanager
def isolated(given: Given, update_data: bool, name: str, say: Say) -> Iterator[Workspace]:  # noqa: FBT001
    """Work in a worktree of its own at the checkout's commit, uncommitted changes taken along, on the same DVC cache.

    given: what is laid over the params.yaml that stands in the checkout now.
    """
    from flows.ledger.data import refuse_changed_data
    from flows.ledger.running import IsolatedRun
    from flows.ledger.sharing import share_cache

    home = root()
    commands.refuse_without_commit(home, say)
    private_folder(home / OURS)
    rollback.recover(home, say)
    worktrees.remove_dead(home, say)
    under_way = journal.Journal.of(home)
    taken = uncommitted(home, say)
    with worktrees.worktree(home, name, commands.commit_of(home, "HEAD"), taken.tree) as folder:
        share_cache(home, folder)
        if under_way is not None:
            say("another run is under way in the checkout: this one starts from what stood there before it")
            replace_fields(under_way, root=folder).restore()
        standing = load(folder / PARAMS)
        params = lay_over(standing, checked(given, "params"), "params")
        for param, old, new in differences(standing.model_dump(), params.model_dump()):
            say(f"given: {param} {word(new)} ({PARAMS}: {word(old)})")
        refuse_changed_data(home, params.data.path, say)
        (folder / ".retrain").mkdir()
        (home / ".retrain" / "checkpoints").mkdir(exist_ok=True)
        (folder / ".retrain" / "checkpoints").symlink_to(home / ".retrain" / "checkpoints")  # what a later run goes on from
        with chdir(folder):
            prepared = prepare(params, update_data, folder, home, say)
            with IsolatedRun(home, folder, name).marked():
                yield Workspace(home, folder, prepared, say, untracked=taken.untracked, name=name)


@contextmanager
def at_revision(revision: str, name: str, say: Say) -> Iterator[tuple[Workspace, str]]:
    """Yield a clean worktree of its own at a commit, branch, tag or experiment, as it was committed, and that commit."""
    from flows.ledger.experiments import commit_named
    from flows.ledger.running import IsolatedRun
    from flows.ledger.sharing import share_cache

    home = root()
    commands.refuse_without_commit(home, say)
    private_folder(home / OURS)
    rollback.recover(home, say)
    worktrees.remove_dead(home, say)
    commit = commit_named(home, revision)
    refuse_unsigned(home, commit)
    with worktrees.worktree(home, name, commit) as folder:
        share_cache(home, folder)
        with chdir(folder):
            params = load(folder / PARAMS)
            worktrees.link(params.model.name, folder, home)
            with IsolatedRun(home, folder, name).marked():
                yield Workspace(home, folder, params, say, name=name), commit


def prepare(params: Params, update_data: bool, checkout: Path, home: Path, say: Say) -> Params:  # noqa: FBT001
    """Version the data, name the base model's content, write the params down; return them as they now stand in params.yaml.

    update_data: take in the newer state of imported data.
    home: the checkout that relative paths of ignored data and models mean; `checkout` itself unless the run is isolated.
    """
    params, source = located(params, checkout, home, isolated=home != checkout)
    worktrees.link(params.model.name, checkout, home)
    model = base_models.resolve(params.model)
    if home == checkout:
        _warn_of_readers(home / (source or params.data.path), checkout, say)
    params = _data_inside(params, source, checkout, say)
    if update_data:
        _update_data(params, checkout, say)
    if model != params.model:
        say(f"model {model.name} is at revision {model.revision}")
    params = params.model_copy(update={"model": model})
    text = written(params, checkout / PARAMS)
    if text is not None:
        refuse_unknown_names(params)
        journal.will_write(checkout, str(PARAMS), text)
        replace(checkout / PARAMS, text)
    return load(checkout / PARAMS)


def _warn_of_readers(data: Path, checkout: Path, say: Say) -> None:
    """Say so when data that only its owner may read is about to be read into a checkout that others can read."""
    is_private = data.exists() and not data.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH)
    if is_private and all(folder.stat().st_mode & stat.S_IXOTH for folder in (checkout, *checkout.parents)):
        remedy = f"chmod 700 {shlex.quote(str(checkout))}"
        say(f"warning: only you may read {data}, but everybody what stages write into {checkout}: {remedy}")


def refuse_unknown_names(params: Params) -> None:
    """Raise InputError when the problem has no such column, or no such score that could select the checkpoint."""
    problem = problems.load(params.problem)
    problems.refuse_unknown_columns(params.data.columns, problem)
    known = ("loss", *problem.scores)
    name = params.train.metric_for_best_model
    if name.removeprefix("eval_") not in known:
        hint = did_you_mean(name, known)
        raise InputError(f"train.metric_for_best_model: there is no validation metric '{name}'{hint} Known: {', '.join(known)}")


def _data_inside(params: Params, source: str | None, checkout: Path, say: Say) -> Params:
    """Import data from its source outside the repository under DVC; warn of data that nothing versions."""
    if source is not None:
        return with_data(params, path=add(source, None, checkout, say))
    if not _versioned(checkout, given := params.data.path):
        say(f"warning: {given} is tracked neither by Git nor by DVC, so nobody can rebuild this model without it; `git add` it or `retrain add` it")
    return params


def _update_data(params: Params, checkout: Path, say: Say) -> None:
    from flows.ledger.data import update_data
    from flows.ledger.stages import Ledger

    for record in update_data(Ledger(checkout, say=say), params.data.path):
        say(f"{record}: its source has changed; took in its newer state")


def located(params: Params, checkout: Path, home: Path, *, isolated: bool) -> tuple[Params, str | None]:
    """Return the params, a pattern in data.path split off into data.files, and where to import the data from.

    None: it is inside. Of a pattern, only what matches is imported. Raises InputError when there is no such data.
    """
    given = expand_home(params.data.path, home)
    pattern = pattern_in(given, home)
    path = given if pattern is None else str(pattern.folder)
    if pattern is not None and (params.data.train_file or params.data.test_file):
        raise InputError(
            f"data.path: '{given}' is a pattern, but data.train_file and data.test_file pick files in a folder; "
            f"give the folder: --data.path {shlex.quote(path)}"
        )
    params = with_data(params, path=path, **({"files": pattern.glob} if pattern else {}))
    outside = leads_out(path, home)
    if not is_url(path) and not (outside and pattern):
        refuse_around(home / path, home)
        # what files are picked by name may stand beside links that nobody follows
        refuse_odd_entries(home / path, links=not (params.data.files or params.data.train_file))
    new = ("--cached", "--others", "--exclude-standard")  # an isolated run takes along what is not ignored
    if outside or (isolated and (home / path).exists() and not _versioned(checkout, path, *new)):
        return params, given if is_url(given) else str(home / given)
    if pattern is not None and (home / path).is_dir():
        Pattern(home / path, pattern.glob).matches()
    elif not (checkout / path).exists() and not under_dvc(checkout, path):
        raise InputError(f"data.path: there is no file or folder '{given}'; give an existing one with --data.path")
    return params, None


def stage_seconds(checkout: Path) -> dict[str, float]:
    """Return how many seconds each stage took when it last ran; of a file that is broken, nothing: it is only a guess."""
    try:
        said = read_json(checkout / SECONDS)
        return {name: float(seconds) for name, seconds in said.items() if float(seconds) >= 0}
    except (OSError, ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return {}


def with_data(params: Params, **changes: str) -> Params:
    """Return the params with other data."""
    return params.model_copy(update={"data": params.data.model_copy(update=changes)})


def add(source: str, name: str | None, checkout: Path, say: Say) -> str:
    """Bring a file, folder or URL into data/raw under DVC; return its path in the repository."""
    from flows.ledger.data import import_data
    from flows.ledger.stages import Ledger

    source = expand_home(refuse_secret(source), Path())
    if not is_url(source) and pattern_in(source, Path()) is None:
        refuse_around(Path(source), checkout)
    name = name_in_raw(source, name)
    began = time.monotonic()
    new = import_data(Ledger(checkout, say=say), source, name)
    took = f"{time.monotonic() - began:.1f} s"
    say(f"{source} is {'now' if new else 'unchanged'} in data/raw/{name}, under DVC ({took}); commit data/raw/{name}.dvc to Git")
    return f"data/raw/{name}"


def _versioned(checkout: Path, path: str, *which: str) -> bool:
    """Return whether DVC tracks the path or a folder above it, or Git tracks it (or, by `which`, would)."""
    inside = os.path.relpath(checkout / path, checkout)
    known = commands.names(checkout, "--literal-pathspecs", "ls-files", "-z", *which, "--", inside)
    # of a repository inside this one, Git names just the folder
    return under_dvc(checkout, inside) or any(not (checkout / name).is_dir() for name in known)


def under_dvc(checkout: Path, path: str) -> bool:
    """Return whether `dvc add` or `dvc import-url` has put the path, or a folder above it, under DVC."""
    return any((checkout / f"{part}.dvc").exists() for part in (Path(path), *Path(path).parents) if part.name)
