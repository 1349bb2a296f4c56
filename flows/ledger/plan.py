"""What a run would do with each stage, and why: decided as `Ledger.run_or_restore` does, with nothing written, checked out or deleted."""

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
from dvc_data.hashfile.tree import Tree
from dvc_objects.errors import ObjectFormatError

from flows.ledger.data import imported
from flows.ledger.overlay import Overlay
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

    unchanged = "unchanged"  # leave it
    restorable = "restorable"  # check its outputs out from the cache
    stale = "stale"  # run it


@dataclass(frozen=True)
class Planned:
    """A stage, what a run would do with it, and why; no reasons when it is unchanged."""

    stage: str
    fate: Fate
    reasons: tuple[Reason, ...]


def plan(root: Path, texts: Mapping[Path, str], arriving: Mapping[str, str], *, sparse: bool) -> list[Planned]:
    """Return what a run in the current folder `root` would do with each stage, in order.

    texts: files as they would be written before the first stage. arriving: data that would be imported, its source by its path.
    sparse: plan for a run in a worktree of its own, where no cached output or data is checked out at first.
    Raises InputError when DVC cannot read the checkout, or would refuse to import.
    """
    ledger = Ledger(root, sparse=sparse, files=Overlay({**({} if sparse else repaired(root)), **texts}))
    try:
        for path, source in arriving.items():
            imported(ledger, source, Path(path).name)
        foresight = _Foresight(ledger, arriving)
        return [foresight.planned(stage) for stage in ledger.stages.values()]
    except DvcException as error:
        raise InputError(sentence(error)) from None


class _Foresight:
    """What is known of the outputs of the stages planned so far: by path, who makes them, and their content (None: not known before)."""

    def __init__(self, ledger: Ledger, arriving: Mapping[str, str]) -> None:
        self.ledger, self.arriving = ledger, arriving
        self.made: dict[str, tuple[Planned, Content | None]] = {}

    def planned(self, stage: PipelineStage) -> Planned:
        """Decide a stage whose predecessors have been decided, and keep what its outputs would be."""
        contents = [self._content(dependency) for dependency in stage.deps]
        is_recorded = any(item.hash_info for item in (*stage.deps, *stage.outs))
        key = [Reason("command", stage.name, "its command changed")] if stage.cmd_changed else []
        for dependency, found in zip(stage.deps, contents, strict=True):
            key += self._changes(dependency, found)
        reasons = key + [reason for item in (*stage.deps, *stage.outs) if (reason := self._absence(item))]
        outputs: Iterable[Output] = stage.outs
        is_unchanged = is_recorded and not reasons
        if not is_unchanged:
            self.ledger.refuse_changed_data(str(dependency) for dependency in stage.deps)
        if is_unchanged:
            fate = Fate.unchanged
        elif None in contents:
            fate = Fate.stale
        else:
            is_intact = not key and all(output.hash_info for output in stage.outs)
            entry = to_single_stage_lockfile(stage) if is_intact else self._entry(stage, contents)
            outputs = self.ledger.repo.stage_cache._create_stage(entry, wdir=stage.wdir).outs if entry else []  # noqa: SLF001
            # a worktree has no outputs of its own that the cache could be filled from
            may_fill = is_intact and not self.ledger.sparse
            is_held = outputs and all(_is_whole(output) or (may_fill and _is_here(output)) for output in outputs)
            fate = Fate.restorable if is_held else Fate.stale
        if not is_recorded:
            words = "never computed here" if fate == Fate.stale else "not in dvc.lock yet, though computed before"
            reasons = [Reason("new", stage.name, words)]
        planned = Planned(stage.name, fate, tuple(reasons))
        known = {output.fs_path: (output.hash_info, output.meta) for output in outputs if fate != Fate.stale}
        self.made |= {output.fs_path: (planned, known.get(output.fs_path)) for output in stage.outs}
        return planned

    def _content(self, dependency: Output) -> Content | None:
        """Return what the stage would find there: as earlier stages leave it, as it would be imported, or as it lies there."""
        if isinstance(dependency, ParamsDependency):
            return dependency.get_hash(), dependency.meta
        if dependency.fs_path in self.made:
            return self.made[dependency.fs_path][1]
        if not dependency.hash_info:
            dependency.hash_name = "md5"  # DVC takes what dvc.lock does not name for a record of its version 2
        if source := self._source(dependency):
            is_known = not is_url(source) and pattern_in(source, Path()) is None
            return content(dependency, source) if is_known else None
        if (self.ledger.sparse or not dependency.exists) and (data := self._data(dependency)):
            found = data.get_obj(filter_info=dependency.fs_path)
            return None if found is None else (found.hash_info, data.meta if data.fs_path == dependency.fs_path else Meta())
        return content(dependency, dependency.fs_path) if dependency.exists else None

    def _changes(self, dependency: Output, found: Content | None) -> Iterator[Reason]:
        """Yield how a dependency will differ from what the stage's recorded outputs were made from."""
        if isinstance(dependency, ParamsDependency):
            assert found is not None
            values: Any = found[0].value
            yield from differences(dependency, values)
            return
        maker, _ = self.made.get(dependency.fs_path, (None, None))
        if is_source(dependency):
            yield from self._changed_source(dependency, found)
            return
        words = f"its input {dependency}"
        old, new = dependency.hash_info.value, found and found[0].value
        if found is None:
            source = self._source(dependency)
            if maker is not None:
                words += f" will be made anew by {maker.stage}"
            elif source is not None:
                words += f" would be brought in from {source}; what is in it is known only then"
            else:
                words += " is not here"
        elif new == old:
            return
        elif old is None:
            words += " is new to it"
        elif maker is not None and maker.fate == Fate.restorable:
            words += f" will be restored by {maker.stage} with other content ({short(old)} -> {short(new)})"
        else:
            words += f" changed ({short(old)} -> {short(new)})"
        yield Reason("input", str(dependency), words, short(old), short(new))

    def _changed_source(self, dependency: Output, found: Content | None) -> Iterator[Reason]:
        """Yield which files of a folder of source differ from the recorded ones; the folder itself where nobody knows."""
        old, new = dependency.hash_info.value, found and found[0].value
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
        """Return why an output, or data from outside, has to be brought in place even if the stage's key is unchanged."""
        if isinstance(item, ParamsDependency) or item.fs_path in self.made:
            return None
        if item.IS_DEPENDENCY:
            is_away = not self.ledger.sparse and not item.exists and not self._source(item) and self._data(item)
            return Reason("input", str(item), f"its input {item} is not checked out") if is_away else None
        why = None
        if not item.hash_info:
            why = "is not in dvc.lock yet"
        elif not (self.ledger.sparse and item.use_cache):
            if not item.exists:
                why = "is missing"
            elif item.changed_checksum():
                why = "was changed"
        if why is None and item.use_cache and not _is_whole(item):
            why = "is not in the DVC cache"
        return Reason("output", str(item), f"its output {item} {why}") if why else None

    def _source(self, dependency: Output) -> str | None:
        """Return where a dependency would be imported from."""
        return self.arriving.get(dependency.def_path)

    def _data(self, dependency: Output) -> Output | None:
        """Return the data under DVC that a dependency is, or lies in."""
        data = (output for stage in self.ledger.all_stages() if stage.is_data_source for output in stage.outs)
        return next((output for output in data if Path(dependency.fs_path).is_relative_to(output.fs_path)), None)

    def _entry(self, stage: PipelineStage, contents: Iterable[Content | None]) -> dict[str, Any] | None:
        """Return what the run-cache holds for the stage with these dependencies: the newest, as DVC takes it."""
        for dependency, found in zip(stage.deps, contents, strict=True):
            assert found is not None
            dependency.hash_info, dependency.meta = found
        return newest(self.ledger.repo, stage)


def _is_whole(output: Output) -> bool:
    """Return whether the cache holds all of an output."""
    held = output.get_obj()
    parts = [part.value for _, _, part in held] if isinstance(held, Tree) else []
    try:
        for identity in (*parts, output.hash_info.value):
            output.cache.check(identity)
    except (FileNotFoundError, ObjectFormatError):
        return False
    return held is not None


def _is_here(output: Output) -> bool:
    """Return whether the checkout has an output whole, from which a run fills the cache again."""
    return bool(output.exists) and not output.changed_checksum()
