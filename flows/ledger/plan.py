"""What a run would do with each stage, and why, with nothing written, checked out or deleted."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from dvc.dependency import ParamsDependency
from dvc.exceptions import DvcException
from dvc.output import Output
from dvc.stage import PipelineStage
from dvc.stage.serialize import to_single_stage_lockfile
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.meta import Meta

from flows.ledger.data import imported
from flows.ledger.edited_files import EditedFiles
from flows.ledger.reasons import Reason, content, differences, short
from flows.ledger.run_cache import newest
from flows.ledger.source_files import differing, is_source
from flows.ledger.sources import is_url, pattern_in
from flows.ledger.stages import Ledger, sentence
from flows.ledger.torn import repaired
from tasks.shared.errors import InputError

Content = tuple[HashInfo, Meta]


class Fate(StrEnum):
    """What a run would do with a stage."""

    # leave it
    unchanged = "unchanged"
    # check its outputs out from the cache
    restorable = "restorable"
    # run it
    stale = "stale"


@dataclass(frozen=True)
class Planned:
    """A stage, what a run would do with it, and why; no reasons when it is unchanged."""

    stage: str
    fate: Fate
    reasons: tuple[Reason, ...]


def plan(
    root: Path,
    texts: Mapping[Path, str],
    arriving: Mapping[str, str],
    *,
    sparse: bool,
) -> list[Planned]:
    """Return what a run in the current folder `root` would do with each stage, in order.

    texts: files as they would be written before the first stage.
    arriving: data that would be imported, its source by its path.
    sparse: plan for a run in a worktree of its own, where no cached output or data is checked out at first.
    Raises InputError when DVC cannot read the checkout, or would refuse to import.
    """
    torn = {} if sparse else repaired(root)
    ledger = Ledger(root, sparse=sparse, files=EditedFiles({**torn, **texts}))
    try:
        for path, source in arriving.items():
            imported(ledger, source, Path(path).name)
        planner = _Planner(ledger, arriving)
        return [planner.planned(stage) for stage in ledger.stages.values()]
    except DvcException as error:
        raise InputError(sentence(error)) from None


class _Planner:
    """Decides stage by stage as `Ledger.run_or_restore` does, but by what the stages before would leave.

    made: the outputs of the stages decided so far, by path: what is planned for who makes it, and its content
    (None: not known before).
    """

    def __init__(self, ledger: Ledger, arriving: Mapping[str, str]) -> None:
        self.ledger, self.arriving = ledger, arriving
        self.made: dict[str, tuple[Planned, Content | None]] = {}

    def planned(self, stage: PipelineStage) -> Planned:
        """Decide a stage whose predecessors have been decided, and keep what its outputs would be."""
        contents = [self._content(dependency) for dependency in stage.deps]
        is_recorded = any(item.hash_info for item in (*stage.deps, *stage.outs))
        reasons = [Reason("command", stage.name, "its command changed")] if stage.cmd_changed else []
        for dependency, found in zip(stage.deps, contents, strict=True):
            reasons += self._changes(dependency, found)
        has_same_key = not reasons
        reasons += [reason for item in (*stage.deps, *stage.outs) if (reason := self._absence(item))]
        if is_recorded and not reasons:
            fate, outputs = Fate.unchanged, stage.outs
        else:
            self.ledger.refuse_changed_data(str(dependency) for dependency in stage.deps)
            outputs = self._restorable(stage, contents, has_same_key=has_same_key)
            fate = Fate.restorable if outputs else Fate.stale
        if not is_recorded:
            words = "not in dvc.lock yet, though computed before" if outputs else "never computed here"
            reasons = [Reason("new", stage.name, words)]
        planned = Planned(stage.name, fate, tuple(reasons))
        known = {output.fs_path: (output.hash_info, output.meta) for output in outputs}
        self.made |= {output.fs_path: (planned, known.get(output.fs_path)) for output in stage.outs}
        return planned

    def _restorable(
        self,
        stage: PipelineStage,
        contents: Iterable[Content | None],
        *,
        has_same_key: bool,
    ) -> list[Output]:
        """Return the outputs that a run would restore: those recorded, else the newest of the run-cache.

        Empty when it is not known what the stage depends on, or the cache does not hold all of them.
        """
        is_recorded = has_same_key and all(output.hash_info for output in stage.outs)
        if is_recorded:
            entry: Mapping[str, Any] | None = to_single_stage_lockfile(stage)
        else:
            for dependency, found in zip(stage.deps, contents, strict=True):
                if found is None:
                    return []
                dependency.hash_info, dependency.meta = found
            entry = newest(self.ledger.repo, stage)
        if entry is None:
            return []
        made = self.ledger.repo.stage_cache._create_stage(entry, wdir=stage.wdir)  # noqa: SLF001
        # what the checkout has, a run would put into the cache; a worktree has nothing of its own
        may_have = is_recorded and not self.ledger.sparse
        for output in made.outs:
            is_here = may_have and output.exists and not output.changed_checksum()
            if not is_here and output.changed_cache():
                return []
        return list(made.outs)

    def _content(self, dependency: Output) -> Content | None:
        """Return what a stage would find there; None when that is not known, or nothing is.

        It is as earlier stages leave it, as it would be imported, or as it lies there.
        """
        if isinstance(dependency, ParamsDependency):
            return dependency.get_hash(), dependency.meta
        if dependency.fs_path in self.made:
            return self.made[dependency.fs_path][1]
        if not dependency.hash_info:
            # DVC takes what dvc.lock does not name for a record of its version 2
            dependency.hash_name = "md5"
        if source := self.arriving.get(dependency.def_path):
            is_known = not is_url(source) and pattern_in(source, Path()) is None
            return content(dependency, source) if is_known else None
        if (self.ledger.sparse or not dependency.exists) and (data := self._data(dependency)):
            found = data.get_obj(filter_info=dependency.fs_path)
            if found is None:
                return None
            return found.hash_info, data.meta if data.fs_path == dependency.fs_path else Meta()
        return content(dependency, dependency.fs_path) if dependency.exists else None

    def _changes(self, dependency: Output, found: Content | None) -> Iterator[Reason]:
        """Yield how a dependency will differ from what the stage's recorded outputs were made from."""
        old: Any = dependency.hash_info.value
        new: Any = found and found[0].value
        if isinstance(dependency, ParamsDependency):
            yield from differences(dependency, new)
        elif is_source(dependency):
            yield from self._changed_source(dependency, old, new)
        elif new is None or new != old:
            words = f"its input {dependency} {self._how(dependency, old, new)}"
            yield Reason("input", str(dependency), words, short(old), short(new))

    def _how(self, dependency: Output, old: str | None, new: str | None) -> str:
        """Return in words how an input will differ; new: None when that is not known."""
        maker, _ = self.made.get(dependency.fs_path, (None, None))
        source = self.arriving.get(dependency.def_path)
        change = f"({short(old)} -> {short(new)})"
        if new is None and maker is not None:
            return f"will be made anew by {maker.stage}"
        if new is None and source is not None:
            return f"would be brought in from {source}; what is in it is known only then"
        if new is None:
            return "is not here"
        if old is None:
            return "is new to it"
        if maker is not None and maker.fate == Fate.restorable:
            return f"will be restored by {maker.stage} with other content {change}"
        return f"changed {change}"

    def _changed_source(self, dependency: Output, old: str | None, new: str | None) -> Iterator[Reason]:
        """Yield which files of a folder of source differ; the folder itself where that is not known."""
        if old == new:
            return
        changed = differing(self.ledger, dependency) or {str(dependency): (old, new)}
        for name, (was, is_) in changed.items():
            if was is None:
                text = f"{name} is new to it"
            elif is_ is None:
                text = f"{name} is gone"
            else:
                text = f"{name} changed ({short(was)} -> {short(is_)})"
            yield Reason("file", name, text, short(was), short(is_))

    def _absence(self, item: Output) -> Reason | None:
        """Return why an output or data has to be checked out even if the stage's key is unchanged."""
        if isinstance(item, ParamsDependency) or item.fs_path in self.made:
            return None
        if item.IS_DEPENDENCY:
            is_there = self.ledger.sparse or item.exists or item.def_path in self.arriving
            is_away = not is_there and self._data(item)
            return Reason("input", str(item), f"its input {item} is not checked out") if is_away else None
        why = None
        if not item.hash_info:
            why = "is not in dvc.lock yet"
        elif not (self.ledger.sparse and item.use_cache):
            if not item.exists:
                why = "is missing"
            elif item.changed_checksum():
                why = "was changed"
        if why is None and item.use_cache and item.changed_cache():
            why = "is not in the DVC cache"
        return Reason("output", str(item), f"its output {item} {why}") if why else None

    def _data(self, dependency: Output) -> Output | None:
        """Return the data under DVC that a dependency is, or lies in."""
        for stage in self.ledger.all_stages():
            for output in stage.outs if stage.is_data_source else ():
                if Path(dependency.fs_path).is_relative_to(output.fs_path):
                    return output
        return None
