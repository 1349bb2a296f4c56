"""Mending objects of the DVC cache: from a copy, from a remote, from where they were imported, or by computing them again."""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, chdir
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from dvc.config import RemoteConfigError
from dvc.fs import GitFileSystem, localfs
from dvc.repo.reproduce import plan_repro
from dvc.stage import PipelineStage
from dvc.utils.serialize import modify_yaml
from dvc_data.hashfile.build import build
from dvc_objects.fs.generic import transfer

from flows.engine.processes import Processes, StageFailedError
from flows.engine.workspace import under_dvc
from flows.fsck.examination import Examination, Finding, Needed, What
from flows.git import commands, uncommitted, worktrees
from flows.git.signatures import refuse_unsigned
from flows.ledger.journal import replacing_lock
from flows.ledger.run_cache import REFUSED, computed_from
from flows.ledger.sharing import share_cache
from flows.ledger.stages import Ledger
from tasks.shared.errors import InputError
from tasks.shared.params_file import PARAMS, load

Say = Callable[[str], None]
TRIES = 2  # a stage is run again when a listing it has made shows that more of its files are damaged


class Repair:
    """Mends what an examination finds. A damaged object is never written to, as links share its bytes: the new one takes its place."""

    def __init__(self, examination: Examination, say: Say, show: Say) -> None:
        self.examination, self.say, self.show = examination, say, show
        self.repo, self.checkout = examination.repo, examination.checkout
        self.refused = Path(self.repo.cache.legacy.path, REFUSED)
        self.doubtful: set[str] = set()  # stages that read what was damaged
        self.unread: set[str] = set()  # remotes that could not be read
        self.reasons: dict[str, str] = {}  # why a stage could not make its outputs again
        self.copies: dict[Path, list[Path]] = {}  # the damaged files of the checkout by their objects

    def from_elsewhere(self, finding: Finding) -> str | None:
        """Take a whole copy from the first place that has one; return what place that is, None when there is none."""
        item = finding.object
        self.copies.setdefault(item.path, finding.copies)
        for name, fs, path in self._sources(item):
            if self._fetch(item, fs, path, name):
                self.relink(item)
                return name
        return None

    def by_computing(self, findings: list[Finding]) -> None:
        """Set what is damaged aside and run the stages that make it, in a worktree of their own, so that the checkout is left alone.

        What has come back is whole when it is examined next; `reasons` says why the rest has not.
        """
        for finding in findings:
            self.copies.setdefault(finding.object.path, finding.copies)
            self._set_aside(finding.object)
        names = {stage for finding in findings for stage in finding.object.places.values() if stage}
        if not names:
            return
        with ExitStack() as stack:
            try:
                folder = stack.enter_context(self._folder())
                stack.enter_context(chdir(folder))
                processes = stack.enter_context(Processes(folder))
                for name in self._order(folder, names):
                    self._compute(name, folder, processes)
            except InputError as error:
                self.reasons |= {name: str(error) for name in names if name not in self.reasons}

    def distrust(self, damaged: list[Needed]) -> None:
        """Set aside all records of the run-cache of what was computed from damaged objects, and remember the stages that dvc.lock has so.

        damaged: those found now; what runs have set aside since the last repair counts too.

        Whether the damage came before or after cannot be known: a write can hide its time, and what rots on the disk has none.
        """
        for item in self.examination.objects.values():
            if (aside := self.aside(item)).exists():
                damaged.append(item)
                examined = aside.parent / "examined" / aside.name
                examined.parent.mkdir(exist_ok=True)
                aside.replace(examined)
        places = [PurePosixPath(place) for item in damaged for place in item.places]
        inputs: dict[str, str] = {}
        for name, entry in self.examination.recorded.items():
            read = {dep["md5"]: dep["path"] for dep in entry.get("deps", ()) if "md5" in dep and _touches(dep["path"], places)}
            inputs |= read
            self.doubtful |= {name} if read else set()
        for record in computed_from(self.repo, set(inputs)):
            record.set_aside(self.refused)
            self.show(f"invalid   {record.path.name}  {record}: it was computed from {record.among(inputs)}, which is or was damaged")

    def forget(self) -> None:
        """Take the entries of those stages out of the checkout's dvc.lock, so that the next run computes them."""
        if not self.doubtful or self.examination.commit:
            return
        with replacing_lock(self.checkout) as file, modify_yaml(str(file)) as lock:
            for name in self.doubtful:
                del lock["stages"][name]
        names = ", ".join(name for name in self.examination.recorded if name in self.doubtful)
        self.show(f"invalid   what dvc.lock records of {names}: the next run computes it again")

    def relink(self, item: Needed) -> None:
        """Have the checkout's own files, damaged with the object, be links to what has taken its place."""
        for copy in self.copies.pop(item.path, []):
            if not copy.is_symlink():
                part = copy.with_name(f".{copy.name}.part")
                part.unlink(missing_ok=True)
                transfer(item.cache.fs, str(item.path), localfs, str(part), links=["copy"] if item.spare else list(item.cache.cache_types))
                if item.spare:
                    part.chmod(copy.stat().st_mode)
                part.replace(copy)

    def aside(self, item: Needed) -> Path:
        """Where a damaged object is kept that has not been mended: no longer trusted, but perhaps all that is left of it."""
        return Path(self.repo.cache.legacy.path, "damaged", item.hash)

    def _sources(self, item: Needed) -> Iterator[tuple[str, Any, str]]:
        """Yield where a copy may be: what to call that, a file system, a path there."""
        for place in item.places:
            copy = self.checkout / place
            if item.is_listing and copy.is_dir():
                _, _, tree = build(item.cache, str(copy), localfs, item.hash_name, ignore=self.repo.dvcignore, dry_run=True)
                yield f"the files in {place}", tree.fs, tree.path
            elif not item.is_listing and copy.is_file() and not (item.path.exists() and copy.samefile(item.path)):
                yield f"the checkout's {place}", localfs, str(copy)
            if item.spare:
                commit = self.examination.commit or commands.commit_of(self.checkout, "HEAD")
                yield "Git", GitFileSystem(scm=self.repo.scm, rev=commit), f"/{place}"
        config = self.repo.config
        for remote in dict.fromkeys(filter(None, (item.remote, config["core"].get("remote"), *config["remote"]))):
            if remote not in self.unread:
                try:
                    odb = self.repo.cloud.get_remote_odb(remote, hash_name=item.hash_name)
                except RemoteConfigError:  # one that keeps files by their names
                    continue
                yield f"the remote {remote}", odb.fs, odb.oid_to_path(item.hash)
        if item.origin and not item.is_listing:
            yield f"{item.origin[1]}, from where it was imported", *item.origin

    def _fetch(self, item: Needed, fs: Any, path: str, name: str) -> bool:
        """Put a copy in the object's place if it is whole; return whether it was."""
        part = item.path.with_name(f".{item.path.name}.part")
        part.parent.mkdir(parents=True, exist_ok=True)
        try:
            with fs.open(path, "rb") as source, part.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
                target.flush()
                os.fsync(target.fileno())
        except (FileNotFoundError, IsADirectoryError):
            part.unlink(missing_ok=True)
            return False
        except Exception as error:  # noqa: BLE001 (whatever a storage service raises, another place may have a copy)
            part.unlink(missing_ok=True)
            self.unread.add(name.removeprefix("the remote "))
            self.say(f"{name} could not be read: {' '.join(str(error).split())}")
            return False
        if self.examination.digest(part, item.hash_name) != item.hash.removesuffix(".dir"):
            part.unlink()
            return False
        item.cache.protect(str(part))
        part.replace(item.path)
        return True

    def _set_aside(self, item: Needed) -> None:
        if item.path.exists():
            aside = self.aside(item)
            aside.parent.mkdir(exist_ok=True)
            item.path.replace(aside)

    def _folder(self) -> Any:
        """Return a worktree at the revision, or of the checkout as it stands."""
        commit = self.examination.commit
        if commit:
            refuse_unsigned(self.checkout, commit)
        tree = None if commit else uncommitted.uncommitted(self.checkout, lambda _: None).tree
        return worktrees.worktree(self.checkout, f"check-{os.getpid()}", commit or commands.commit_of(self.checkout, "HEAD"), tree)

    def _order(self, folder: Path, names: set[str]) -> list[str]:
        """Make a fresh worktree ready for stages; return those in `names` and all they depend on, in order."""
        share_cache(self.checkout, folder)
        params = load(folder / PARAMS)
        worktrees.link(params.model.name, folder, self.checkout)
        if not under_dvc(folder, params.data.path):
            worktrees.link(params.data.path, folder, self.checkout)
        ledger = Ledger(folder, sparse=True, say=self.say)
        wanted = [ledger.stages[name] for name in names if name in ledger.stages]
        order = plan_repro(ledger.repo.index.graph, wanted)
        return [stage.name for stage in order if isinstance(stage, PipelineStage)]

    def _compute(self, name: str, folder: Path, processes: Processes) -> None:
        """Have a stage's outputs and its record come back, from the run-cache or by running it."""
        for _ in range(TRIES):
            ledger = Ledger(folder, sparse=True, say=self.say)
            stage = ledger.stages[name]
            with ledger.repo.lock:
                changed = stage.changed_stage() or stage.changed_deps(allow_missing=True, upstream=list(ledger.repo.index.stages))
            if changed:
                self.reasons[name] = (
                    f"{name} no longer depends on what it was made from; check the revision that made it: `retrain check REV --repair`"
                )
                return
            try:
                ledger.run_or_restore(name, partial(self._run, name, ledger.command(name), processes))
            except (InputError, StageFailedError) as error:
                self.reasons[name] = str(error)
                return
            left = [finding for finding in self.examination.findings() if name in finding.object.places.values()]
            if not left:
                return
            self.reasons[name] = f"{name} was run again and made other bytes: it was made on another device, or with other versions"
            for finding in left:
                if finding.what == What.damaged:
                    self.copies.setdefault(finding.object.path, finding.copies)
                    self._set_aside(finding.object)
            for output in stage.outs:
                output.remove()

    def _run(self, name: str, command: str, processes: Processes) -> None:
        self.say(f"computing {name} again")
        processes.run(command, lambda line: self.say(f"  {line}"), lambda _: None)


def _touches(path: str, places: Iterable[PurePosixPath]) -> bool:
    """Return whether a path is one of the places, above or below one."""
    here = PurePosixPath(path)
    return any(here.is_relative_to(place) or place.is_relative_to(here) for place in places)
