"""The stages of one checkout: which have something to do, bringing their outputs in place, and writing down that they are."""

import logging
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from configobj import ConfigObj
from dvc.config import Config, _pack_named
from dvc.config_schema import RelPath
from dvc.dvcfile import LOCK_FILE, Lockfile
from dvc.exceptions import DvcException
from dvc.fs import LocalFileSystem
from dvc.output import Output
from dvc.repo import Repo
from dvc.stage import PipelineStage, Stage
from dvc.stage.cache import RunCacheNotFoundError, _get_stage_hash
from dvc.stage.decorators import rwlocked, unlocked_repo
from dvc.stage.serialize import to_single_stage_lockfile
from dvc_data.hashfile._progress import QueryingProgress

from flows.ledger.cache import keep, opened
from flows.ledger.journal import replacing_lock
from flows.ledger.listings import refuse_climbing
from flows.ledger.remote import Remote
from flows.ledger.results import Outcome
from flows.ledger.run_cache import newest, set_aside_damaged
from flows.ledger.running import UnderWay, no_garbage_collected
from flows.ledger.validation import refuse_forged
from tasks.shared.errors import InputError, full
from tasks.shared.files import for_owner, private_folder
from tasks.shared.locks import alone

for library in ("dvc", "dvc_data", "dvc_objects"):  # what they would log is raised, or found by `_record`
    logging.getLogger(library).setLevel(logging.CRITICAL)


def _braces_as_they_are(told: Callable[..., None]) -> Callable[..., None]:
    """Hand on a path with its braces doubled: DVC makes a format string of it, and `/data/{x}` has no field x."""

    def doubled(self: QueryingProgress, *words: Any, name: str | None = None, **options: Any) -> None:
        told(self, *words, name=name and name.replace("{", "{{").replace("}", "}}"), **options)

    return doubled


QueryingProgress.__init__ = _braces_as_they_are(QueryingProgress.__init__)  # type: ignore[method-assign]


class Ledger:
    """The stages of one checkout and the record of what they have computed.

    sparse: outputs that dvc.lock names and the cache holds count as being there; they are checked out when a stage needs them.
    files: how DVC reads the checkout, when it is not as it lies there; then damaged objects of the cache are left where they are.
    under_way: the isolated run whose stages these are, if it is one.
    """

    def __init__(
        self,
        root: Path,
        *,
        sparse: bool = False,
        say: Callable[[str], None] = lambda _: None,
        files: LocalFileSystem | None = None,
        under_way: UnderWay | None = None,
    ) -> None:
        self.sparse, self.say, self.under_way = sparse, say, under_way
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
            return not any(self._changed(stage) for stage in self.stages.values())

    def all_sent(self) -> bool:
        """Return whether the DVC remote, if there is one, has been sent all that the stages have computed; no network is asked."""
        return not any(self.remote.lacks(stage) for stage in self.stages.values())

    def send(self) -> None:
        """Send the DVC remote what it lacks of the stages' results: computed by `dvc repro`, or when it could not be reached."""
        self.remote.is_down = False
        missing = [stage.name for stage in self.stages.values() if not self.remote.push(stage)]
        if missing:
            self.say(f"warning: remote '{self.remote.name}' still lacks {', '.join(missing)}; the next run sends it")

    def for_git(self) -> set[str]:
        """Return the files that runs write and leave to Git: dvc.lock and the metrics."""
        outputs = [output for stage in self.stages.values() for output in stage.outs if not output.use_cache]
        return {LOCK_FILE, *(output.def_path for output in outputs)}

    def command(self, name: str) -> str:
        """Return the command line that dvc.yaml holds for the stage."""
        return str(self.stages[name].cmd)

    def settle(self, name: str, run: Callable[[], None]) -> Outcome:
        """Bring the stage's outputs in place: leave them, restore them, or have `run` compute them; then record them.

        A stage that another run of this repository is computing with the same key is waited for, and restored.
        What `run` raises passes through, and nothing is recorded. The order of steps is that of `dvc repro`.
        """
        stage = self.stages[name]
        try:
            with self.repo.lock:
                outcome = self._decide(stage, run)
        except DvcException as error:
            # DVC tries out links on the disk, and takes a full one for one that knows no links
            raise full(self.cache) or InputError(f"{name}: {sentence(error)}") from error
        self.remote.push(stage)
        return outcome

    def _decide(self, stage: PipelineStage, run: Callable[[], None]) -> Outcome:
        if not self._changed(stage):
            return Outcome.unchanged
        self.refuse_changed_data(str(dependency) for dependency in stage.deps)
        self.bring(str(dependency) for dependency in stage.deps)
        recorded = self._recorded(stage)
        stage.save_deps()
        with self._alone(stage):
            return self._settle(stage, run, recorded)

    def refuse_changed_data(self, paths: Iterable[str]) -> None:
        """Raise InputError when data under DVC at, above or below `paths` is not what its record says: edited, or damaged."""
        places = [Path(self.repo.root_dir, path) for path in paths]
        for stage in self.all_stages():
            for output in stage.outs if stage.is_data_source else ():
                held = Path(output.fs_path)
                is_meant = any(path.is_relative_to(held) or held.is_relative_to(path) for path in places)
                if is_meant and output.exists and output.changed_checksum():
                    raise InputError(
                        f"{output} has changed since DVC recorded it; `dvc add {output}` records it as it is now, "
                        "or move it away, and the next run brings back what was recorded"
                    )

    def bring(self, paths: Iterable[str]) -> None:
        """Check out what is missing of `paths`: outputs of stages, or data under DVC. Those that DVC does not know are left to fail."""
        missing = [Path(self.repo.root_dir, path) for path in paths if not Path(self.repo.root_dir, path).exists()]
        for path in missing:
            for output in self._outputs():
                held = Path(output.fs_path)
                if path.is_relative_to(held) or held.is_relative_to(path):
                    self.check_out(output)

    def check_out(self, output: Output) -> None:
        """Bring one output in place from the cache, or the remote; raise InputError when they do not hold all of it."""
        refuse_climbing(output)
        if output.changed_cache():
            self.remote.pull(output)
            refuse_climbing(output)
        if output.changed_cache():
            raise InputError(f"{output}: not all of it is in the DVC cache; `retrain check --repair` says what is missing and mends it")
        output.checkout(relink=False)

    def put_back(self, names: Collection[str]) -> tuple[list[str], list[str]]:
        """Check out again those outputs that are not as dvc.lock has them; return those, and those that the cache cannot give."""
        brought: list[str] = []
        lost: list[str] = []
        with self.repo.lock:
            for output in self._outputs():
                if str(output) not in names or (output.exists and not output.changed_checksum()):
                    continue
                try:
                    refuse_climbing(output)
                    is_whole = not output.changed_cache()
                    if is_whole:
                        if output.exists:
                            output.remove()
                        self.check_out(output)
                except (InputError, DvcException):
                    is_whole = False
                (brought if is_whole else lost).append(str(output))
        return brought, lost

    def _outputs(self) -> list[Output]:
        """Return all outputs of stages and all data under DVC whose content is known."""
        # DVC's index has the stages as they were before this run, `self.stages` as they are now
        data = [stage for stage in self.all_stages() if stage.is_data_source]
        outputs = [output for stage in (*self.stages.values(), *data) for output in stage.outs]
        return [output for output in outputs if output.use_cache and output.hash_info]

    def all_stages(self) -> list[Stage]:
        """Return the stages and all data under DVC; raise InputError when DVC cannot read one, or one is forged."""
        try:
            return list(refuse_forged(self.repo.index.stages))
        except DvcException as error:
            raise InputError(sentence(error)) from None

    def _changed(self, stage: PipelineStage) -> bool:
        """Return whether the stage's outputs are not those that its inputs, sources, params and pins ask for."""
        if not self.sparse:
            return bool(stage.changed())
        if stage.changed(allow_missing=True, upstream=list(self.repo.index.stages)):
            return True
        return any(not output.exists and (not output.use_cache or output.changed_cache()) for output in stage.outs)

    @contextmanager
    def _alone(self, stage: PipelineStage) -> Iterator[None]:
        """Hold the lock of the stage's key, which the kernel releases when its holder dies; wait, and say so, while another run has it."""
        key = str(_get_stage_hash(stage))
        with alone(self.cache / "locks" / key, lambda who: self.say(f"{stage.name}: {who} is computing the same; waiting for it")):
            yield

    def _recorded(self, stage: PipelineStage) -> dict[str, Any] | None:
        """Return what dvc.lock records for the stage, if that was made from what it depends on now: then only its outputs are amiss.

        To be asked before `save_deps`, which has the stage's dependencies stand as they are now beside the outputs of another time.
        """
        if stage.changed_stage() or not stage.deps_cached() or not all(output.hash_info for output in stage.outs):
            return None
        return dict(to_single_stage_lockfile(stage))

    def _settle(self, stage: PipelineStage, run: Callable[[], None], recorded: dict[str, Any] | None) -> Outcome:
        def compute(_: PipelineStage) -> None:
            run()

        @rwlocked(read=["deps"], write=["outs"])
        def bring(stage: PipelineStage) -> Outcome:
            self._keep(stage, recorded)
            stage.remove_outs(ignore_remove=False, force=False)
            try:
                self._restore(stage, recorded)
            except RunCacheNotFoundError:
                stage.save_deps()
                inputs = [dependency.hash_info for dependency in stage.deps]
                unlocked_repo(compute)(stage)
                stage.save_deps()
                for before, dependency in zip(inputs, stage.deps, strict=True):
                    if dependency.hash_info != before:
                        raise InputError(f"{stage.name}: its input {dependency} changed while it ran; run the same command again") from None
                return Outcome.ran
            return Outcome.restored

        outcome: Outcome = bring(stage)
        self._record(stage)
        return outcome

    def _restore(self, stage: PipelineStage, recorded: dict[str, Any] | None) -> None:
        """Check out what is recorded, or else what some run has computed for the stage's key, here or where the remote is.

        Raises RunCacheNotFoundError when nobody has, or it is no longer whole. It is DVC's `StageCache.restore`, which cannot be used
        once `save_deps` has been called: it would take the recorded outputs for those of the changed dependencies.
        """
        for entry in self._computed(stage, recorded):
            cached = self.repo.stage_cache._create_stage(entry, wdir=stage.wdir)  # noqa: SLF001
            for output in cached.outs:
                refuse_climbing(output)
                if output.changed_cache():
                    self.remote.pull(output)
                    refuse_climbing(output)
            with self._no_garbage_collected():
                if cached.outs_cached():
                    cached.checkout()
                    return
        raise RunCacheNotFoundError(stage)

    def _keep(self, stage: PipelineStage, recorded: dict[str, Any] | None) -> None:
        """Put recorded outputs that the checkout has whole and the cache has not into the cache, to be restored from there.

        Metrics are always so in a fresh clone, as `dvc push` and `dvc gc` leave them to Git.
        """
        if recorded is None:
            return
        for output in self.repo.stage_cache._create_stage(recorded, wdir=stage.wdir).outs:  # noqa: SLF001
            keep(output)

    def _computed(self, stage: PipelineStage, recorded: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
        if recorded is not None:
            yield recorded
        self.remote.pull_run(stage)
        if (entry := newest(self.repo, stage)) is not None:
            yield entry

    @contextmanager
    def _no_garbage_collected(self) -> Iterator[None]:
        """Have garbage collection wait: an isolated run must say so, one in the checkout holds the same lock anyway."""
        with no_garbage_collected(self.under_way.home) if self.under_way else nullcontext():
            yield

    def _record(self, stage: PipelineStage) -> None:
        """Keep the stage's outputs in the cache and write down in dvc.lock that they are there.

        DVC only logs what it could not copy into the cache, so look whether all is there before the lock says so.
        """
        for place in set_aside_damaged(self.repo, stage):
            self.say(f"warning: a record of {stage.name} in the run-cache was damaged: it is set aside as {place}")
        with self._no_garbage_collected():
            stage.save()
            stage.commit()
            if not stage.outs_cached():
                free = shutil.disk_usage(self.cache).free / 1e6
                raise InputError(
                    f"{stage.name}: its outputs could not all be written to the DVC cache {self.cache} ({free:.1f} MB free), so the disk is "
                    "full or not writable, or an object there is damaged (`retrain check`); mend that and run the same command again"
                )
            with replacing_lock(Path(self.repo.root_dir)) as file:
                Lockfile(self.repo, str(file)).dump(stage)
            if self.under_way:
                self.under_way.hold()

    def refuse_lost(self) -> None:
        """Raise InputError when the cache no longer holds all that the stages have made, or been found to have.

        What it lacks and the folder has whole is put in again.
        """
        with self._no_garbage_collected():
            lost = []
            for output in self._outputs():
                if output.exists:
                    keep(output)
                is_made = not output.stage.is_data_source
                if is_made and output.changed_cache():
                    lost.append(str(output))
        if lost:
            raise InputError(
                f"{', '.join(lost)}: gone from the DVC cache {self.cache} while this run worked (did another clone that shares it collect "
                "garbage?), so it is not recorded; run the same command again, and what is gone is computed again"
            )


def keep_private(repo: Repo) -> None:
    """Keep others out of the checkout's own cache: DVC makes every file in it readable to all.

    One that is shared (DVC's `cache.shared`), or lies elsewhere, is as its owner has made it.
    """
    cache = Path(repo.cache.legacy.path)
    mine = Path(repo.local_dvc_dir or os.devnull)
    if cache == mine / "cache" and os.access(mine, os.W_OK) and not repo.config["cache"].get("shared"):
        private_folder(cache)


def share_cache(home: Path, folder: Path) -> None:
    """Have a worktree use the DVC cache, the remotes and all other settings of its home checkout, and none of its commit's.

    A commit that was fetched could otherwise have a remote lead elsewhere, and be handed the secrets that home keeps for it.
    Relative paths would lead elsewhere from the worktree, so they are written anew. DVC itself writes in ASCII only.
    """
    place = _own_folder(folder)
    settings = Config(str(home / ".dvc")).load_one("local")
    with Repo(str(home)) as repo:
        keep_private(repo)
        settings["cache"]["dir"] = RelPath(repo.cache.legacy.path)
        for name, remote in repo.config["remote"].items():
            paths = {option: value for option, value in remote.items() if isinstance(value, RelPath)}
            settings["remote"].setdefault(name, {}).update(paths)
    # a worktree lives as long as its run: its links to the cache need no place, and whoever writes to one is found out
    settings["cache"].setdefault("type", ["reflink", "hardlink", "copy"])
    committed = home / ".dvc/config"
    (place / "config").write_bytes(committed.read_bytes() if committed.exists() else b"")
    file = place / "config.local"
    written = ConfigObj(
        _pack_named(Config._save_paths(settings, str(file))),  # noqa: SLF001
        encoding="utf-8",
        interpolation=False,
    )
    with open(file, "xb", opener=for_owner) as out:
        written.write(out)


def _own_folder(folder: Path) -> Path:
    """Return the folder in which DVC keeps what is a worktree's own, without what its commit may have put there.

    What is written there would go where a link leads; DVC unpickles what it finds in its databases.
    """
    place = folder.resolve() / ".dvc"
    if place.is_symlink():
        place.unlink()
    place.mkdir(exist_ok=True)
    for path in (place / name for name in ("config", "config.local", "tmp", "cache")):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return place


def sentence(error: Exception) -> str:
    """Return DVC's own words on one line, with the cause it hides behind."""
    cause = f" ({error.__cause__})" if error.__cause__ else ""
    return " ".join(f"{error}{cause}".split())
