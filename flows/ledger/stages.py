"""The stages of one checkout: which have changed, running or restoring them, and recording what they made."""

import logging
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import chain
from pathlib import Path
from typing import Any

from dvc.dvcfile import LOCK_FILE, Lockfile
from dvc.exceptions import DvcException
from dvc.fs import LocalFileSystem
from dvc.output import Output
from dvc.stage import PipelineStage, Stage
from dvc.stage.cache import _can_hash, _get_stage_hash
from dvc.stage.decorators import rwlocked
from dvc.stage.serialize import to_single_stage_lockfile
from dvc_data.hashfile._progress import QueryingProgress

from flows.ledger.cache import keep, opened
from flows.ledger.journal import replacing_lock
from flows.ledger.listings import refuse_climbing
from flows.ledger.remote import Remote, overlap
from flows.ledger.results import Result
from flows.ledger.run_cache import newest, set_aside_damaged
from flows.ledger.running import IsolatedRun, without_gc
from flows.ledger.sharing import keep_private
from flows.ledger.validation import refuse_forged
from tasks.shared.errors import InputError, full
from tasks.shared.locks import alone
from tasks.shared.say import Say

# what they would log is raised, or found by `_record`
for library in ("dvc", "dvc_data", "dvc_objects"):
    logging.getLogger(library).setLevel(logging.CRITICAL)


def _braces_as_they_are(told: Callable[..., None]) -> Callable[..., None]:
    """Hand on a path with its braces doubled: DVC makes a format string of it."""

    def doubled(self: QueryingProgress, *words: Any, name: str | None = None, **options: Any) -> None:
        told(self, *words, name=name and name.replace("{", "{{").replace("}", "}}"), **options)

    return doubled


QueryingProgress.__init__ = _braces_as_they_are(QueryingProgress.__init__)  # type: ignore[method-assign]


class Ledger:
    """The stages of one checkout and the record of what they have computed.

    sparse: outputs that dvc.lock names and the cache holds count as being there; they are checked out when a
    stage needs them.
    files: how DVC reads the checkout, when it is not as it lies there; then damaged objects of the cache are
    left where they are.
    isolated_run: the isolated run whose stages these are, if it is one.
    """

    def __init__(
        self,
        root: Path,
        *,
        sparse: bool = False,
        say: Say = lambda _: None,
        files: LocalFileSystem | None = None,
        isolated_run: IsolatedRun | None = None,
    ) -> None:
        self.sparse, self.say, self.isolated_run = sparse, say, isolated_run
        try:
            self.repo = opened(root, say, files=files, is_looked_at=files is not None)
            stages = refuse_forged(self.repo.stage.load_all("dvc.yaml"))
            self.stages: dict[str, PipelineStage] = {stage.name: stage for stage in stages}
        except DvcException as error:
            raise InputError(sentence(error)) from None
        keep_private(self.repo)
        self.remote = Remote(self.repo, say)

    @property
    def cache(self) -> Path:
        """The folder of the DVC cache."""
        return Path(self.repo.cache.legacy.path)

    def unchanged(self) -> bool:
        """Return whether no stage has anything to do."""
        with self.repo.lock:
            return bool(self.stages) and not any(map(self._changed, self.stages.values()))

    def all_pushed(self) -> bool:
        """Return whether the DVC remote, if any, was sent all that the stages have made, by our own notes."""
        return not any(self.remote.lacks(stage) for stage in self.stages.values())

    def push(self) -> None:
        """Push what the remote lacks: made by `dvc repro`, or when the remote could not be reached."""
        self.remote.is_down = False
        missing = [stage.name for stage in self.stages.values() if not self.remote.push(stage)]
        if missing:
            names = ", ".join(missing)
            self.say(f"warning: remote '{self.remote.name}' still lacks {names}; the next run sends it")

    def kept_in_git(self) -> set[str]:
        """Return the files that runs write and leave to Git: dvc.lock and the metrics."""
        outputs = chain.from_iterable(stage.outs for stage in self.stages.values())
        return {LOCK_FILE, *(output.def_path for output in outputs if not output.use_cache)}

    def command(self, name: str) -> str:
        """Return the command line that dvc.yaml holds for the stage; raise InputError when it has none."""
        if name not in self.stages:
            remedy = "`git diff dvc.yaml` shows what was changed, `git checkout dvc.yaml` takes it back"
            raise InputError(f"dvc.yaml has no stage '{name}'; {remedy}")
        return str(self.stages[name].cmd)

    def run_or_restore(self, name: str, run: Callable[[], None]) -> Result:
        """Leave the stage's outputs, restore them, or have `run` make them; then record them.

        A stage that another run of this repository is running with the same key is waited for, and restored.
        What `run` raises passes through, and nothing is recorded. The order of steps is that of `dvc repro`.
        """
        stage = self.stages[name]
        try:
            with self.repo.lock:
                result = self._run_if_changed(stage, run)
        except DvcException as error:
            # DVC tries out links on the disk, and takes a full one for one that knows no links
            raise full(self.cache) or InputError(f"{name}: {sentence(error)}") from error
        self.remote.push(stage)
        return result

    def _run_if_changed(self, stage: PipelineStage, run: Callable[[], None]) -> Result:
        if not self._changed(stage):
            return Result.unchanged
        self.refuse_changed_data(str(dependency) for dependency in stage.deps)
        self.checkout_missing(str(dependency) for dependency in stage.deps)
        recorded = self._recorded(stage)
        stage.save_deps()
        with self._alone(stage):
            locked = rwlocked(read=["deps"], write=["outs"])(self._restore_or_run)
            result: Result = locked(stage, run, recorded)
            self._record(stage)
        return result

    def refuse_changed_data(self, paths: Iterable[str]) -> None:
        """Raise InputError when data under DVC at, above or below `paths` is not what was recorded."""
        places = [Path(self.repo.root_dir, path) for path in paths]
        for stage in self.all_stages():
            for output in stage.outs if stage.is_data_source else ():
                is_meant = any(overlap(place, Path(output.fs_path)) for place in places)
                if is_meant and output.exists and output.changed_checksum():
                    remedy = "or move it away, and the next run brings back what was recorded"
                    add = f"`dvc add {output}` records it as it is now"
                    raise InputError(f"{output} has changed since DVC recorded it; {add}, {remedy}")

    def checkout_missing(self, paths: Iterable[str]) -> None:
        """Check out what is missing of `paths`: outputs of stages, or data under DVC.

        Those that DVC does not know are left to fail.
        """
        places = [Path(self.repo.root_dir, path) for path in paths]
        for place in [place for place in places if not place.exists()]:
            for output in self._outputs():
                if overlap(place, Path(output.fs_path)):
                    self.checkout(output)

    def checkout(self, output: Output) -> None:
        """Check out one output from the cache or the remote; raise InputError when they lack some of it."""
        refuse_climbing(output)
        if output.changed_cache():
            self.remote.pull(output)
            refuse_climbing(output)
        if output.changed_cache():
            remedy = "`retrain check --repair` says what is missing and repairs it"
            raise InputError(f"{output}: not all of it is in the DVC cache; {remedy}")
        output.checkout(relink=False)

    def restore(self, names: Collection[str]) -> tuple[list[str], list[str]]:
        """Check out again those outputs that are not as dvc.lock has them.

        Returns those that were restored, and those that the cache cannot give.
        """
        restored: list[str] = []
        lost: list[str] = []
        with self.repo.lock:
            for output in self._outputs():
                if str(output) in names and not (output.exists and not output.changed_checksum()):
                    (restored if self._replaced(output) else lost).append(str(output))
        return restored, lost

    def _replaced(self, output: Output) -> bool:
        """Check out an output in place of what stands there; return False when the cache cannot give it."""
        try:
            refuse_climbing(output)
            if output.changed_cache():
                return False
            if output.exists:
                output.remove()
            self.checkout(output)
        except (InputError, DvcException):
            return False
        return True

    def _outputs(self) -> list[Output]:
        """Return all outputs of stages and all data under DVC whose content is known."""
        # DVC's index has the stages as they were before this run, `self.stages` as they are now
        data = [stage for stage in self.all_stages() if stage.is_data_source]
        outputs = chain.from_iterable(stage.outs for stage in (*self.stages.values(), *data))
        return [output for output in outputs if output.use_cache and output.hash_info]

    def all_stages(self) -> list[Stage]:
        """Return the stages and all data under DVC; raise InputError when one is unreadable or forged."""
        try:
            return list(refuse_forged(self.repo.index.stages))
        except DvcException as error:
            raise InputError(sentence(error)) from None

    def _changed(self, stage: PipelineStage) -> bool:
        """Return whether the stage's outputs are not those that its inputs, params and pins ask for."""
        if not self.sparse:
            return bool(stage.changed())
        if stage.changed(allow_missing=True, upstream=list(self.repo.index.stages)):
            return True
        return any(
            not output.exists and (not output.use_cache or output.changed_cache()) for output in stage.outs
        )

    @contextmanager
    def _alone(self, stage: PipelineStage) -> Iterator[None]:
        """Hold the lock of the stage's key; wait, and say so, while another run has it.

        The repository's lock is not held meanwhile: an isolated run that has the key takes it to record.
        """
        key = self.cache / "locks" / str(_get_stage_hash(stage))
        with ExitStack() as waiting:

            def wait(who: str) -> None:
                self.say(f"{stage.name}: {who} is computing the same; waiting for it")
                waiting.enter_context(self._unlocked(stage))

            with alone(key, wait):
                waiting.close()
                yield

    @contextmanager
    def _unlocked(self, stage: PipelineStage) -> Iterator[None]:
        """Let other commands of DVC work; raise InputError when an input of the stage changed meanwhile."""
        before = [dependency.hash_info for dependency in stage.deps]
        self.repo.lock.unlock()
        self.repo._reset()  # noqa: SLF001 (what else DVC does where it lets the lock go)
        try:
            yield
        finally:
            self.repo.lock.lock()
        stage.save_deps()
        for hash_info, dependency in zip(before, stage.deps, strict=True):
            if dependency.hash_info != hash_info:
                raise InputError(
                    f"{stage.name}: its input {dependency} changed meanwhile; run the same command again"
                )

    def _recorded(self, stage: PipelineStage) -> dict[str, Any] | None:
        """Return what dvc.lock records for the stage, if its inputs are those of now: only outputs are amiss.

        To be asked before `save_deps`, which has the stage's dependencies stand as they are now beside the
        outputs of another time.
        """
        if (
            stage.changed_stage()
            or not stage.deps_cached()
            or not all(output.hash_info for output in stage.outs)
        ):
            return None
        return dict(to_single_stage_lockfile(stage))

    def _restore_or_run(
        self, stage: PipelineStage, run: Callable[[], None], recorded: dict[str, Any] | None
    ) -> Result:
        self._add_to_cache(stage, recorded)
        stage.remove_outs(ignore_remove=False, force=False)
        if self._restored(stage, recorded):
            return Result.restored
        with self._unlocked(stage):
            run()
        return Result.ran

    def _restored(self, stage: PipelineStage, recorded: dict[str, Any] | None) -> bool:
        """Check out what is recorded, or what some run has computed for the stage's key, here or remotely.

        Returns False when nobody has, or it is no longer whole. It is DVC's `StageCache.restore`, which
        cannot be used once `save_deps` has been called: it would take the recorded outputs for those of the
        changed dependencies.
        """
        for entry in self._entries(stage, recorded):
            cached = self.repo.stage_cache._create_stage(entry, wdir=stage.wdir)  # noqa: SLF001
            for output in cached.outs:
                refuse_climbing(output)
                if output.changed_cache():
                    self.remote.pull(output)
                    refuse_climbing(output)
            with self._without_gc():
                if cached.outs_cached():
                    cached.checkout()
                    return True
        return False

    def _add_to_cache(self, stage: PipelineStage, recorded: dict[str, Any] | None) -> None:
        """Put recorded outputs that the checkout has whole and the cache has not into the cache.

        Metrics are always so in a fresh clone, as `dvc push` and `dvc gc` leave them to Git.
        """
        if recorded is None:
            return
        for output in self.repo.stage_cache._create_stage(recorded, wdir=stage.wdir).outs:  # noqa: SLF001
            keep(output)

    def _entries(self, stage: PipelineStage, recorded: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
        """Yield what the stage's outputs may be restored from: dvc.lock, then the run-cache."""
        if recorded is not None:
            yield recorded
        self.remote.pull_run(stage)
        if (entry := newest(self.repo, stage)) is not None:
            yield entry

    @contextmanager
    def _without_gc(self) -> Iterator[None]:
        """Have garbage collection wait; a run in the checkout holds the same lock anyway."""
        with without_gc(self.isolated_run.home) if self.isolated_run else nullcontext():
            yield

    def _record(self, stage: PipelineStage) -> None:
        """Keep the stage's outputs in the cache and write down in dvc.lock that they are there.

        DVC only logs what it could not copy into the cache, so look whether all is there before the lock says
        so.
        """
        with self._without_gc():
            for place in set_aside_damaged(self.repo, stage):
                which = f"a record of {stage.name} in the run-cache was damaged"
                self.say(f"warning: {which}: it is set aside as {place}")
            stage.save()
            stage.commit()
            if not self._is_cached(stage):
                free = shutil.disk_usage(self.cache).free / 1e6
                where = f"the DVC cache {self.cache} ({free:.1f} MB free)"
                why = "the disk is full or not writable, or an object there is damaged (`retrain check`)"
                remedy = "repair that and run the same command again"
                raise InputError(
                    f"{stage.name}: its outputs could not all be written to {where}, so {why}; {remedy}"
                )
            with replacing_lock(Path(self.repo.root_dir)) as file:
                Lockfile(self.repo, str(file)).dump(stage)
            if self.isolated_run:
                self.isolated_run.mark()

    def _is_cached(self, stage: PipelineStage) -> bool:
        """Return whether the cache holds all that a stage has made.

        Where the run-cache restores it, metrics too, which DVC has put there for that.
        """
        if not stage.outs_cached() or not _can_hash(stage):
            return bool(stage.outs_cached())
        entry = to_single_stage_lockfile(stage)
        return bool(self.repo.stage_cache._create_stage(entry, wdir=stage.wdir).outs_cached())  # noqa: SLF001

    def refuse_lost(self) -> None:
        """Raise InputError when the cache no longer holds all that the stages have made.

        What it lacks and the folder has whole is put in again.
        """
        with self._without_gc():
            lost = []
            for output in self._outputs():
                if output.exists:
                    keep(output)
                is_made = not output.stage.is_data_source
                if is_made and output.changed_cache():
                    lost.append(str(output))
        if lost:
            where = f"gone from the DVC cache {self.cache} while this run worked"
            why = "did another clone that shares it collect garbage?"
            remedy = "run the same command again, and what is gone is computed again"
            raise InputError(f"{', '.join(lost)}: {where} ({why}), so it is not recorded; {remedy}")


def sentence(error: Exception) -> str:
    """Return DVC's own words on one line, with the cause it hides behind."""
    cause = f" ({error.__cause__})" if error.__cause__ else ""
    return " ".join(f"{error}{cause}".split())
