"""Whether the DVC cache still holds, byte for byte, what a revision needs, whatever is remembered of it."""

import filecmp
import sys
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.output import Output
from dvc.repo.brancher import switch
from dvc.stage import Stage
from dvc_data.hashfile.state import StateNoop
from dvc_objects.errors import ObjectFormatError
from tqdm import tqdm

from flows.ledger.cache import VerifiedCache, opened
from flows.ledger.listings import listed
from flows.ledger.run_cache import of_key, read, recorded
from flows.ledger.stages import sentence
from flows.ledger.validation import place, wrong_stage
from tasks.shared.errors import InputError

# places of one object that a line names
SHOWN = 3


class What(StrEnum):
    """What is wrong with an object or a record."""

    # its bytes are not those it is named after
    damaged = "damaged"
    missing = "missing"
    # a listing that would have files written outside their folder
    dangerous = "dangerous"
    # a hash or a path that is none, in dvc.lock, a .dvc file or a record of the run-cache
    forged = "forged"


@dataclass
class Needed:
    """An object that a revision needs.

    places: paths in the checkout, each with the output that it is or lies in.
    is_spare: the cache may do without it: a metric, which is in Git, or another result of the same inputs.
    origin: where it was imported from.
    size: in bytes, of an object that is there and whole.
    copies: files of the checkout with the same damage.
    """

    oid: str
    cache: VerifiedCache
    places: dict[str, Output] = field(default_factory=dict)
    is_spare: bool = True
    origin: tuple[Any, str] | None = None
    size: int | None = None
    wrong: What | None = None
    copies: list[Path] = field(default_factory=list)

    @property
    def path(self) -> Path:
        """Where the cache keeps it."""
        return Path(self.cache.oid_to_path(self.oid))  # type: ignore[no-untyped-call]

    @property
    def is_listing(self) -> bool:
        """Whether it lists the files of a folder."""
        return self.oid.endswith(".dir")

    @property
    def stages(self) -> list[str]:
        """The stages that make it."""
        return [output.stage.name for output in self.places.values() if not output.stage.is_data_source]

    def __str__(self) -> str:
        named = []
        for path, output in self.places.items():
            maker = "data" if output.stage.is_data_source else f"stage {output.stage.name}"
            named.append(f"{maker}: {path}")
        more = f" and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
        return f"{', '.join(named[:SHOWN])}{more}{' (the listing of the folder)' if self.is_listing else ''}"

    def in_words(self) -> str:
        """Return a line that says what is wrong."""
        why = ""
        if self.wrong == What.dangerous:
            why = "; it would have files written outside the folder: delete it and find out who wrote it"
        elif self.copies:
            why = "; the checkout's own file is damaged too"
        return f"{self.wrong:9} {self.oid}  {self}{why}"


class Examination:
    """What a revision needs, and what of it is not as it should be.

    commit: the revision; None for what stands in the checkout.
    Raises InputError when its dvc.yaml or dvc.lock cannot be read.
    """

    def __init__(self, checkout: Path, commit: str | None) -> None:
        self.checkout, self.commit = checkout, commit
        self.objects: dict[Path, Needed] = {}
        # what cannot be in dvc.lock and .dvc files, by where it stands
        self.forged: dict[str, str] = {}
        try:
            self.repo = opened(checkout, lambda _: None, is_looked_at=True)
            # what runs remember of hashes is not trusted here
            self.repo.cache.local.memory = self.repo.cache.legacy.memory = StateNoop()
            with switch(self.repo, commit) if commit else nullcontext():
                self.recorded = recorded(self.repo)
                for stage in self.repo.index.stages:
                    if wrong := wrong_stage(stage):
                        self.forged[place(stage)] = wrong
                    else:
                        self._need_outputs(stage)
        except DvcException as error:
            raise InputError(sentence(error)) from None

    def wrong_objects(self) -> list[Needed]:
        """Hash what has not been found whole yet; return what is wrong now.

        What only a listing names that is damaged or missing is not known.
        """
        for item in [item for item in self.objects.values() if item.is_listing]:
            self._examine(item)
            if item.size is None:
                continue
            names = listed(item.cache, item.oid, *(self.checkout / path for path in item.places))
            if names is None:
                item.wrong = What.dangerous
                continue
            for name, oid in names.items():
                for path, output in item.places.items():
                    file = Needed(oid, item.cache, is_spare=item.is_spare)
                    self._need(file, output, path, f"/{name}")
        files = [item for item in self.objects.values() if not item.is_listing]
        is_quiet = not sys.stderr.isatty()
        for item in tqdm(files, desc="checking", unit=" objects", leave=False, disable=is_quiet):
            self._examine(item)
        return [item for item in self.objects.values() if item.wrong]

    def _need_outputs(self, stage: Stage) -> None:
        """Note the outputs of a stage, or of a .dvc file, and what the run-cache has for the same inputs."""
        outputs = {}
        for output in stage.outs:
            if output.hash_info and output.is_in_repo:
                path = output.fs.relpath(output.fs_path, self.repo.root_dir)
                outputs[path] = output
                item = Needed(output.hash_info.value, output.cache, is_spare=not output.use_cache)
                self._need(item, output, path)
        if stage.is_data_source or stage.name not in self.recorded:
            return
        for record in of_key(self.repo, self.recorded[stage.name]):
            with suppress(InputError):
                for made in read(record).get("outs", ()):
                    if made["path"] in outputs and "md5" in made:
                        output = outputs[made["path"]]
                        self._need(Needed(made["md5"], output.cache), output, made["path"])

    def _need(self, item: Needed, output: Output, path: str, name: str = "") -> None:
        """Note that an object is an output at a path, or a file of that folder."""
        known = self.objects.setdefault(item.path, item)
        known.is_spare &= item.is_spare
        known.places[path + name] = output
        if output.stage.is_import and not output.stage.is_repo_import:
            source = output.stage.deps[0]
            known.origin = source.fs, source.fs_path + name

    def _examine(self, item: Needed) -> None:
        if item.size is not None:
            return
        item.wrong = None
        try:
            item.size = item.cache.check(item.oid).size
        except FileNotFoundError:
            item.wrong = None if item.is_spare else What.missing
        except ObjectFormatError:
            item.wrong = What.damaged
            files = [] if item.is_listing else [self.checkout / path for path in item.places]
            item.copies = [file for file in files if file.is_file() and _are_same(file, item.path)]


def _are_same(one: Path, other: Path) -> bool:
    """Return whether two files are one, or hold the same bytes."""
    try:
        return one.samefile(other) or filecmp.cmp(one, other, shallow=False)
    except OSError:
        # the disk cannot read it
        return False
