"""What has been computed, as DVC records it in dvc.lock, its cache and its run-cache. The only module that imports dvc."""

import errno
import logging
import shutil
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.stage import PipelineStage
from dvc.stage.cache import RunCacheNotFoundError
from dvc.stage.decorators import rwlocked, unlocked_repo

from tasks.errors import InputError

for library in ("dvc", "dvc_data", "dvc_objects"):  # what they would log is raised, or found by `_record`
    logging.getLogger(library).setLevel(logging.CRITICAL)


class Outcome(StrEnum):
    """How a stage's outputs came to be in place."""

    unchanged = "unchanged"  # they were there already
    restored = "restored"  # checked out from the cache: some run, by either driver, computed them before
    ran = "ran"


class Ledger:
    """The stages of one checkout and the record of what they have computed."""

    def __init__(self, root: Path) -> None:
        try:
            self.repo = Repo(str(root), _wait_for_lock=True)
            self.stages: dict[str, PipelineStage] = {stage.name: stage for stage in self.repo.stage.load_all("dvc.yaml")}
        except DvcException as error:
            raise InputError(_sentence(error)) from None

    def changed(self, name: str) -> bool:
        """Return whether the stage's outputs are not those that its inputs, sources, params and pins ask for."""
        with self.repo.lock:
            return bool(self.stages[name].changed())

    def unchanged(self) -> bool:
        """Return whether no stage has anything to do."""
        with self.repo.lock:
            return not any(stage.changed() for stage in self.stages.values())

    def command(self, name: str) -> str:
        """Return the command line that dvc.yaml holds for the stage."""
        return str(self.stages[name].cmd)

    def settle(self, name: str, run: Callable[[], None]) -> Outcome:
        """Bring the stage's outputs in place: leave them, restore them, or have `run` compute them; then record them.

        What `run` raises passes through, and nothing is recorded. The order of steps is that of `dvc repro`.
        """
        stage = self.stages[name]
        try:
            with self.repo.lock:
                return self._settle(stage, run) if stage.changed() else Outcome.unchanged
        except DvcException as error:
            raise InputError(f"{name}: {_sentence(error)}") from None
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise InputError(f"{name}: the disk is full while writing {error.filename}; free some space and run the same command again") from None

    def _settle(self, stage: PipelineStage, run: Callable[[], None]) -> Outcome:
        def compute(_: PipelineStage) -> None:
            run()

        @rwlocked(read=["deps"], write=["outs"])
        def bring(stage: PipelineStage) -> Outcome:
            stage.remove_outs(ignore_remove=False, force=False)
            try:
                self.repo.stage_cache.restore(stage)
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

    def _record(self, stage: PipelineStage) -> None:
        """Keep the stage's outputs in the cache and write down in dvc.lock that they are there.

        DVC only logs what it could not copy into the cache, so look whether all is there before the lock says so; and it writes
        the lock in place, so put the old one back when that fails.
        """
        stage.save()
        stage.commit()
        if not stage.outs_cached():
            cache = self.repo.cache.local.path
            free = shutil.disk_usage(cache).free / 1e6
            raise InputError(
                f"{stage.name}: its outputs could not all be written to the DVC cache {cache} ({free:.1f} MB free), "
                "so the disk is full or not writable; mend that and run the same command again"
            )
        lock = Path(self.repo.root_dir, "dvc.lock")
        before = lock.read_bytes() if lock.exists() else None
        try:
            stage.dump(update_pipeline=False)
        except BaseException:
            lock.unlink() if before is None else lock.write_bytes(before)
            raise

    def bring_in(self, source: str, name: str) -> bool:
        """Import `source` (file, folder or URL) to data/raw/`name` under DVC, or update it when it came from there before.

        Returns whether the content is new. Raises InputError when data/raw/`name` is something else.
        """
        target = Path(self.repo.root_dir, "data/raw", name)
        record = target.with_name(target.name + ".dvc")
        url = source if "://" in source else str(Path(source).resolve())
        try:
            if record.exists():
                (stage,) = self.repo.stage.load_all(str(record))
                known = stage.deps[0].def_path if stage.is_import else "dvc add"
                if known != url and (target.parent / known).resolve() != Path(url):
                    raise InputError(f"data/raw/{name} comes from {known} already; choose another name: retrain add {source} NAME")
                before = record.read_text("utf-8")
                self.repo.update([str(record)])
                return record.read_text("utf-8") != before
            if target.exists():
                raise InputError(f"data/raw/{name} exists already; choose another name: retrain add {source} NAME")
            self.repo.imp_url(url, out=str(target))
        except DvcException as error:
            raise InputError(f"cannot bring in {source}: {_sentence(error)}") from None
        return True


def _sentence(error: Exception) -> str:
    """Return DVC's own words on one line, with the cause it hides behind."""
    cause = f" ({error.__cause__})" if error.__cause__ else ""
    return " ".join(f"{error}{cause}".split())
