"""Sharing with a team: what a stage needs comes from the DVC remote, and what it has computed goes there.

Nothing here fails a run: a remote that cannot be reached costs a warning, and what it lacks is sent by the
run that ends next.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any

import funcy
from dvc.env import DVC_EXP_AUTO_PUSH
from dvc.exceptions import DvcException
from dvc.fs import HTTPFileSystem, LocalFileSystem, generic
from dvc.output import Output
from dvc.repo import Repo
from dvc.stage import PipelineStage
from dvc.stage.serialize import to_single_stage_lockfile
from dvc.utils import env2bool
from dvc_data.hashfile.hash_info import HashInfo
from dvc_objects.fs.base import FileSystem
from dvc_objects.fs.errors import AuthError, ConfigError, RemoteMissingDepsError
from fsspec.spec import AbstractFileSystem

from flows.ledger.cache import keep
from flows.ledger.listings import listed, refuse_climbing
from flows.ledger.run_cache import REFUSED, names, newest, read
from flows.ledger.validation import is_hash, refuse_forged
from tasks.shared.errors import InputError, without_password
from tasks.shared.say import Say

# with 1, 2 and 4 seconds in between
TRIES = 4
# seconds to wait for a host that does not answer, unless DVC's config says
PATIENCE = {"ssh": {"timeout": 20}, "s3": {"connect_timeout": 10}}
SECRET = re.compile("password|passphrase|secret|token|key|credential|connection_string")


class Remote:
    """The DVC remote that `core.remote` names; without one, nothing is pulled and everything counts as sent.

    Nothing is sent either unless the user has switched sharing on.
    """

    def __init__(self, repo: Repo, say: Say) -> None:
        self.repo, self.say = repo, say
        self.name: str | None = repo.config["core"].get("remote")
        self.is_shared = is_shared(repo.config)
        # what could not be sent waits for the end of the run, so that a dead remote is waited for once
        self.is_down = False
        self.settings: dict[str, Any] = repo.config["remote"].get(self.name, {})
        url = str(self.settings.get("url", ""))
        for option, seconds in PATIENCE.get(url.partition("://")[0], {}).items():
            self.settings.setdefault(option, seconds)
        # not even the hash of a password stands in a name; who may use a remote does not change what is there
        place = sha256(f"{without_password(url)} {self.settings.get('endpointurl', '')}".encode()).hexdigest()
        # an empty file for each record of the run-cache that is there
        self.sent = Path(repo.cache.legacy.path, "sent", place[:16])

    def lacks(self, stage: PipelineStage) -> bool:
        """Return whether the remote may lack what the stage has computed; no network is asked."""
        if not (self.name and self.is_shared):
            return False
        record = self._record(stage)
        return record.exists() and not (self.sent / record.name).exists()

    def push(self, stage: PipelineStage) -> bool:
        """Send the stage's outputs, the data under DVC that it read, and then its record in the run-cache.

        Returns whether all is there now.
        """
        if not self.lacks(stage):
            return True
        return not self.is_down and self._tried(lambda: self._send(stage), f"could not send {stage.name} to")

    def pull_run(self, stage: PipelineStage) -> None:
        """Bring what any run has computed for the stage's key into the cache, if only the remote has it."""
        if self.name:
            self._tried(lambda: self._fetch_run(stage), f"could not ask for {stage.name} at")

    def pull(self, output: Output) -> None:
        """Bring an output's content into the local cache."""
        if self.name:
            self._tried(lambda: self._fetch([output]), f"could not get {output} from")

    def pull_folder(self, digest: str) -> None:
        """Bring a folder's listing and the files that it names into the local cache."""
        if self.name:
            self._tried(lambda: self._fetch_folder(digest), f"could not get {digest} from")

    def _fetch_folder(self, digest: str) -> None:
        folder = HashInfo("md5", digest)
        _check(self.repo.cloud.pull({folder}, remote=self.name))
        # only what is named is pulled, and who reads a forged listing finds nothing in it
        files = listed(self.repo.cache.local, digest) or {}
        named = {HashInfo("md5", its) for its in files.values() if is_hash(its)}
        _check(self.repo.cloud.pull({folder, *named}, remote=self.name))

    def _send(self, stage: PipelineStage) -> None:
        record = self._record(stage)
        # it knows the metrics too, which dvc.lock leaves to Git
        computed = self.repo.stage_cache._create_stage(read(record), wdir=stage.wdir)  # noqa: SLF001
        inputs = [Path(dependency.fs_path) for dependency in stage.deps]
        sources = [source for source in refuse_forged(self.repo.index.stages) if source.is_data_source]
        outs = chain.from_iterable(source.outs for source in sources)
        data = [output for output in outs if any(overlap(Path(output.fs_path), path) for path in inputs)]
        for output in [*computed.outs, *data]:
            keep(output)
            if output.changed_cache():
                raise InputError(f"not all of {output} is in the DVC cache")
            for odb, objects in output.get_used_objs(push=True, force=True).items():
                _check(self.repo.cloud.push(objects, remote=self.name, odb=odb))
        runs = self._runs()
        if runs is not None:
            fs, folder = runs
            generic.copy(LocalFileSystem(), str(record), fs, fs.join(folder, *record.parts[-3:]))
        self.sent.mkdir(parents=True, exist_ok=True)
        (self.sent / record.name).touch()
        place = without_password(self.settings.get("url", ""))
        self.say(f"{stage.name}: sent to remote '{self.name}' ({place})")

    def _fetch_run(self, stage: PipelineStage) -> None:
        known = newest(self.repo, stage)
        if known is None:
            self._fetch_records(self._record(stage).parent)
            known = newest(self.repo, stage)
        if known is not None:
            self._fetch(self.repo.stage_cache._create_stage(known, wdir=stage.wdir).outs)  # noqa: SLF001

    def _fetch_records(self, local: Path) -> None:
        """Copy the remote's records for one key, which `local` is named by; forged ones stay there."""
        runs = self._runs()
        if runs is None:
            return
        fs, folder = runs
        there = fs.join(folder, local.parent.name, local.name)
        for path in fs.find(there) if fs.exists(there) else ():
            name = fs.name(path)
            if Path(self.repo.cache.legacy.path, REFUSED, name).exists():
                continue
            arrived = local.parent.parent / f"{os.getpid()}.arriving"
            try:
                generic.copy(fs, path, LocalFileSystem(), str(arrived))
                read(arrived, local.name, name)
                local.mkdir(parents=True, exist_ok=True)
                arrived.replace(local / name)
                self.sent.mkdir(parents=True, exist_ok=True)
                (self.sent / name).touch()
            except InputError as error:
                which = f"remote '{self.name}': the run-cache entry {name}"
                self.say(f"warning: {which} {error}, so it is not used")
            finally:
                arrived.unlink(missing_ok=True)

    def _fetch(self, outputs: Iterable[Output]) -> None:
        for output in outputs:
            refuse_climbing(output)
            if output.changed_cache():
                for odb, objects in output.get_used_objs(force=True).items():
                    _check(self.repo.cloud.pull(objects, remote=self.name, odb=odb))

    def _record(self, stage: PipelineStage) -> Path:
        """Return where the run-cache keeps, or would keep, what the stage has computed."""
        return Path(self.repo.stage_cache._get_cache_path(*names(to_single_stage_lockfile(stage))))  # noqa: SLF001

    def _runs(self) -> tuple[FileSystem, str] | None:
        """Return the remote's file system and the folder of its run-cache; None when DVC gives it none."""
        odb = self.repo.cloud.get_remote_odb(self.name, "push --run-cache", hash_name="md5-dos2unix")
        return None if isinstance(odb.fs, HTTPFileSystem) else (odb.fs, odb.fs.join(odb.path, "runs"))

    def _tried(self, action: Callable[[], None], failure: str) -> bool:
        """Do it, with retries and exponential back-off; return whether it worked, and warn if it did not."""

        @patiently
        def act() -> None:
            try:
                action()
            except Exception:
                _forget_connections(AbstractFileSystem)
                raise

        try:
            act()
        except Exception as error:  # noqa: BLE001 (each kind of remote raises its own, and none may end the run)
            self.is_down = True
            why = without_secrets(error, [self.settings])
            self.say(f"warning: {failure} remote '{self.name}': {why}; going on without it")
            return False
        self.is_down = False
        return True


def without_secrets(error: Exception, remotes: Iterable[Mapping[str, Any]]) -> str:
    """Return what a store says of an error, without the secrets of URLs and of the settings of remotes."""
    text = without_password(" ".join(str(error).split()) or type(error).__name__)
    for option, value in chain.from_iterable(settings.items() for settings in remotes):
        if SECRET.search(option) and value:
            text = text.replace(str(value), "***")
    return text


def is_shared(config: Mapping[str, Any]) -> bool:
    """Return whether runs send what they make: DVC's `exp.auto_push`, false unless somebody sets it."""
    return bool(env2bool(DVC_EXP_AUTO_PUSH, config["exp"].get("auto_push", False)))


def _may_pass(error: Exception) -> bool:
    """Return whether it may work the next time: not with a wrong setting, or a package that is missing."""
    settings = (DvcException, AuthError, ConfigError, RemoteMissingDepsError, ImportError)
    return not isinstance(error, (*settings, InputError, FileNotFoundError))


# for what talks to a store over the network
patiently = funcy.retry(TRIES, filter_errors=_may_pass, timeout=lambda attempt: 2**attempt)


def overlap(one: Path, other: Path) -> bool:
    """Return whether one path is the other, or lies in it."""
    return one.is_relative_to(other) or other.is_relative_to(one)


def _check(result: Any) -> None:
    if result.failed:
        raise ConnectionError(f"{len(result.failed)} files could not be transferred")


def _forget_connections(kind: type[AbstractFileSystem]) -> None:
    """Have the next attempt connect anew: fsspec would hand out the connection that broke."""
    kind.clear_instance_cache()
    for narrower in kind.__subclasses__():
        _forget_connections(narrower)
