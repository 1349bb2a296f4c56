"""Repair of the DVC cache: from a copy, a remote, where data was imported from, or by computing it again."""

import os
import shutil
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from dvc.config import RemoteConfigError
from dvc.fs import GitFileSystem, localfs
from dvc.repo.reproduce import plan_repro
from dvc.stage import PipelineStage
from dvc.stage.serialize import to_single_stage_lockfile
from dvc.utils.serialize import modify_yaml
from dvc_data.hashfile.build import build
from dvc_data.hashfile.hash import file_md5
from dvc_objects.fs.generic import transfer

from flows.engine.data import under_dvc
from flows.engine.prepare import keep_models, share_bases
from flows.engine.processes import Processes
from flows.fsck.examination import Examination, Needed
from flows.git import commands, uncommitted, worktrees
from flows.git.signatures import refuse_unsigned
from flows.ledger.journal import replacing_lock
from flows.ledger.remote import overlap, without_secrets
from flows.ledger.run_cache import DAMAGED, REFUSED, computed_from, names, set_aside, write
from flows.ledger.sharing import share_cache
from flows.ledger.stages import Ledger
from tasks.shared import tracking
from tasks.shared.errors import InputError
from tasks.shared.params_file import PARAMS, load
from tasks.shared.say import Say

# where a copy may be: what to call that, a file system, a path there
Source = tuple[str, Any, str]


class Repair:
    """Brings back what is damaged or missing, and invalidates what may have been computed from damage."""

    def __init__(self, examination: Examination, say: Say, show: Say) -> None:
        self.examination, self.say, self.show = examination, say, show
        self.repo, self.checkout = examination.repo, examination.checkout
        self.aside = Path(self.repo.cache.legacy.path, "damaged")
        # the damaged objects whose readers are known to be doubtful
        self.invalidated: set[str] = set()
        # stages that have read them
        self.doubtful: set[str] = set()
        # remotes that could not be read
        self.unread: set[str] = set()
        # why a stage has not made its outputs again
        self.reasons: dict[str, str] = {}

    def record(self, path: Path) -> str:
        """Set a wrong record of the run-cache aside, and write it again when dvc.lock holds the same.

        Returns what was done.
        """
        key, name = path.parent.name, path.name
        set_aside(self.repo, path, DAMAGED)
        for entry in self.examination.recorded.values():
            if entry.get("outs") and names(entry) == (key, name):
                write(path, entry)
                return "written again from dvc.lock"
        return "removed, so that nothing is restored from it"

    def from_elsewhere(self, item: Needed) -> str | None:
        """Take a whole copy from the first place that has one; return what that place is called, or None."""
        if item.path.exists():
            item.cache.set_aside(item.oid)
        for name, fs, path in self._sources(item):
            if self._fetch(item, fs, path, name):
                self.relink(item)
                return name
        return None

    def by_computing(self, items: list[Needed]) -> None:
        """Run the stages that make these objects, in a worktree of their own: the checkout is left alone.

        What has come back is found whole when it is examined next; `reasons` says why the rest has not.
        """
        wanted = set(chain.from_iterable(item.stages for item in items))
        if not wanted:
            return
        try:
            with (
                self._worktree() as folder,
                chdir(folder),
                Processes(folder, {tracking.SWITCH: "off"}) as processes,
            ):
                ledger = Ledger(folder, sparse=True, say=self.say)
                makers = [stage for name, stage in ledger.stages.items() if name in wanted]
                for stage in plan_repro(ledger.repo.index.graph, makers):
                    if isinstance(stage, PipelineStage):
                        self._compute(ledger, stage.name, processes)
        except InputError as error:
            self.reasons |= dict.fromkeys(wanted, str(error))

    def invalidate(self) -> None:
        """Set aside all records of the run-cache of what was computed from damaged objects.

        Those that runs have set aside since the last repair count too. Whether the damage came before or
        after cannot be known: a write can hide its time, and what rots on the disk has none.
        """
        places = []
        for item in self.examination.objects.values():
            if item.oid not in self.invalidated and (self.aside / item.oid).exists():
                self.invalidated.add(item.oid)
                places += [Path(path) for path in item.places]
        inputs = {}
        for name, entry in self.examination.recorded.items():
            for dep in entry.get("deps", ()):
                if "md5" in dep and any(overlap(Path(dep["path"]), place) for place in places):
                    inputs[dep["md5"]] = dep["path"]
                    self.doubtful.add(name)
        for path, entry in computed_from(self.repo, inputs):
            set_aside(self.repo, path, REFUSED)
            record = f"stage {entry['cmd'].rpartition('.')[2]}: its record in the run-cache"
            read = {inputs[dep["md5"]] for dep in entry["deps"] if dep.get("md5") in inputs}
            why = f"it was computed from {', '.join(sorted(read))}, which is or was damaged"
            self.show(f"invalid   {path.name}  {record}: {why}")

    def forget(self) -> None:
        """Take the doubtful stages out of the checkout's dvc.lock, so that the next run computes them.

        What is left of objects that are whole again is deleted.
        """
        for item in self.examination.objects.values():
            if item.size is not None:
                (self.aside / item.oid).unlink(missing_ok=True)
        if not self.doubtful or self.examination.commit:
            return
        with replacing_lock(self.checkout) as file, modify_yaml(str(file)) as lock:
            for name in self.doubtful:
                # `dvc repro` may have recorded another result meanwhile
                if lock["stages"].get(name) == self.examination.recorded[name]:
                    del lock["stages"][name]
        told = ", ".join(name for name in self.examination.recorded if name in self.doubtful)
        self.show(f"invalid   what dvc.lock records of {told}: the next run computes it again")

    def relink(self, item: Needed) -> None:
        """Have the checkout's own files, damaged with the object, be links to what has taken its place."""
        links = ["copy"] if item.is_spare else item.cache.cache_types
        for file in item.copies:
            file.unlink()
            transfer(item.cache.fs, str(item.path), localfs, str(file), links=[*links])
        item.copies = []

    def _sources(self, item: Needed) -> Iterator[Source]:
        """Yield where a copy may be."""
        for place, output in item.places.items():
            file = self.checkout / place
            if item.is_listing and file.is_dir():
                hashed = {"name": output.hash_name, "ignore": self.repo.dvcignore, "dry_run": True}
                _, _, tree = build(item.cache, str(file), localfs, **hashed)
                yield f"the files in {place}", tree.fs, tree.path
            elif file.is_file():
                yield f"the checkout's {place}", localfs, str(file)
            if not output.use_cache:
                commit = self.examination.commit or commands.commit_of(self.checkout, "HEAD")
                yield "Git", GitFileSystem(scm=self.repo.scm, rev=commit), f"/{place}"
        yield from self._remotes(item)
        if item.origin and not item.is_listing:
            yield f"{item.origin[1]}, from where it was imported", *item.origin

    def _remotes(self, item: Needed) -> Iterator[Source]:
        """Yield the DVC remotes: the outputs' own, the default one, then the others."""
        config = self.repo.config
        own = [output.remote for output in item.places.values()]
        for remote in dict.fromkeys(filter(None, (*own, config["core"].get("remote"), *config["remote"]))):
            name = f"the remote {remote}"
            if name not in self.unread:
                try:
                    odb = self.repo.cloud.get_remote_odb(remote, hash_name=item.cache.hash_name)
                except RemoteConfigError:
                    # one that keeps files by their names
                    continue
                yield name, odb.fs, odb.oid_to_path(item.oid)

    def _fetch(self, item: Needed, fs: Any, path: str, name: str) -> bool:
        """Put a copy in the object's place if its hash is the object's; return whether it was."""
        part = item.path.with_name(f".{item.path.name}.part")
        part.parent.mkdir(parents=True, exist_ok=True)
        try:
            with fs.open(path, "rb") as source, part.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
            if file_md5(str(part), name=item.cache.hash_name) != item.oid.removesuffix(".dir"):
                return False
            item.cache.protect(str(part))
            part.replace(item.path)
        except (FileNotFoundError, IsADirectoryError):
            return False
        except Exception as error:  # noqa: BLE001 (whatever a store raises, another place may have a copy)
            self.unread.add(name)
            why = without_secrets(error, self.repo.config["remote"].values())
            self.say(f"{name} could not be read: {why}")
            return False
        finally:
            part.unlink(missing_ok=True)
        return True

    @contextmanager
    def _worktree(self) -> Iterator[Path]:
        """Yield a worktree at the revision, or of the checkout as it stands, ready for stages."""
        commit, tree = self.examination.commit, None
        if commit:
            refuse_unsigned(self.checkout, commit)
        else:
            commit = commands.commit_of(self.checkout, "HEAD")
            tree = uncommitted.uncommitted(self.checkout, lambda _: None).tree
        with worktrees.worktree(self.checkout, f"check-{os.getpid()}", commit, tree) as folder:
            share_cache(self.checkout, folder)
            params = load(folder / PARAMS)
            share_bases(params.model, folder, self.checkout)
            try:
                keep_models(params, self.checkout, self.say)
            except InputError as error:
                # the stages that need none of them can be computed all the same
                self.say(f"warning: {error}")
            if not under_dvc(folder, params.data.path):
                worktrees.link(params.data.path, folder, self.checkout)
            yield folder

    def _compute(self, ledger: Ledger, name: str, processes: Processes) -> None:
        """Have a stage's outputs and its record come back, from the run-cache or by running it."""
        self.reasons[name] = f"{name} made other bytes: it was made on another device, or with other versions"
        try:
            ledger.run_or_restore(name, partial(self._run, ledger.stages[name], processes))
        except InputError as error:
            self.reasons[name] = str(error)

    def _run(self, stage: PipelineStage, processes: Processes) -> None:
        """Run a stage, unless what it depends on now would make something else than was recorded."""
        recorded = self.examination.recorded.get(stage.name, {})
        if names(to_single_stage_lockfile(stage))[0] != names(recorded)[0]:
            remedy = "check the revision that made it: `retrain check REV --repair`"
            raise InputError(f"{stage.name} no longer depends on what it was made from; {remedy}")
        self.say(f"computing {stage.name} again")
        processes.run(str(stage.cmd), lambda line: self.say(f"  {line}"), lambda _: None)
