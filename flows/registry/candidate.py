"""A run whose model may take the champion's place: what its commit and the cache hold, what is decided."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from flows.ledger import packages
from flows.ledger.history import Record as Run
from flows.ledger.history import committed
from flows.ledger.results import LostError
from flows.registry import champion as champions
from flows.registry import decision, signing
from flows.registry.decision import Compared, Decision
from flows.registry.latency import measured
from flows.registry.promotion import Promoted, promote, register
from flows.registry.tags import REFUSED, Assignment, Record, Version, read
from tasks.shared import params_file
from tasks.shared.errors import InputError
from tasks.shared.files import folder_digest
from tasks.shared.params import Promote
from tasks.shared.params_file import PARAMS, Layer
from tasks.shared.say import Say


@dataclass(frozen=True)
class Candidate:
    """A run's model, and whose place it would take.

    package: its folder, for a while. name: of the model in the registry. against: who has the stage now.
    last: the stage's last assignment, also one that took it from everybody. out: takes more of the run out.
    """

    run: Run
    package: Path
    name: str
    stage: str
    rules: Promote
    compared: Compared
    against: Assignment | None
    last: Assignment | None
    out: packages.TakenOut

    def pictures(self) -> Path:
        """Return a folder with what evaluate has drawn of it, there as long as the candidate is."""
        return self.out.folder(packages.DRAWN)

    @property
    def beside(self) -> str:
        """What the candidate was compared with: the tag of who has the stage, another champion, a baseline.

        Who has the stage now may be another: the comparison is older, or that champion's package was lost.
        """
        its = self.compared.judged
        if its.champion is None:
            return str(its.baseline)
        # a tag of GTO's own names no package: what decides looks whether it is the one
        if self.against is not None and self.against.record.package in (its.champion, None):
            return self.against.tag
        return f"champion {its.champion.removeprefix('sha256:')[:10]}"

    def without_latency(self) -> "Candidate":
        """Return it with nothing that measures how long a row takes."""
        return replace(self, compared=replace(self.compared, latency=None))


@contextmanager
def candidate(
    checkout: Path, commit: str, run: str, say: Say, *, name: str | None = None, stage: str | None = None
) -> Iterator[Candidate]:
    """Yield the candidate that a commit is, its statistics taken out of the cache for a while.

    name, stage: what its params say, unless they are given. Raises InputError when its run did not end, or
    the cache does not hold what it made.
    """
    record = committed(checkout, commit, run)
    params = params_file.lay_over(_params_of(record, commit))
    rules = params.promote
    name, stage = name or params.registered_name, stage or rules.stage
    metrics = record.metric("judge")
    if not metrics:
        raise InputError(f"'{run}' has no metrics/judge.json: its run did not end; name one that did")
    known = read(checkout, name)
    last = known.last(name, stage)
    with packages.TakenOut(checkout, record, run, say) as out:
        package = out.folder(packages.PACKAGE)
        digest = f"sha256:{folder_digest(package)}"
        its = decision.judged(metrics)
        folder = out.folder(packages.JUDGED) if its.rows else Path()
        against = known.champion(name, stage)
        sizes, latency = _sizes(checkout, record, against), None
        if its.champion is not None:
            latency = partial(measured, checkout, out, params, its.champion, say)
        compared = Compared(name, digest, its, folder, sizes, latency)
        yield Candidate(record, package, name, stage, rules, compared, against, last, out)


def decided(checkout: Path, its: Candidate, say: Say, *, force: bool = False, asks: bool = False) -> Decision:
    """Return what the candidate has proven; raise InputError when it was compared with somebody else.

    force: nothing needs to be proven, so a champion whose package is lost may be replaced. asks: somebody is
    asked, so that what somebody has refused before is not held for that.
    """
    try:
        digest = None if its.against is None else champions.kept(its.against, checkout, say)
    except LostError as error:
        if not force:
            raise
        return Decision("not compared", f"Not compared with the champion: {error}.")
    if digest == its.compared.digest:
        # whoever it was compared with
        return decision.SAME
    if digest != its.compared.judged.champion:
        now = f"{its.against.tag} has it now" if its.against else "nobody has it now"
        other = f"it was not compared with who has {its.stage}: {now}"
        raise InputError(f"'{its.run.name}' is not promoted: {other}; `retrain run` compares anew")
    found = decision.decide(checkout, its.compared, its.rules)
    before = read(checkout, its.name).version_at(its.name, str(its.run.commit))
    if asks or before is None or before.record.verdict != REFUSED:
        return found
    refused_by = f"{before.tag} was refused by {before.record.by}: {before.record.reason}"
    return replace(found, held=(*found.held, refused_by))


def promoted(
    checkout: Path,
    its: Candidate,
    found: Decision,
    say: Say,
    *,
    by: str,
    reason: str | None = None,
) -> Promoted:
    """Give the candidate the stage, with what proved it in the tag, signed where a key is configured.

    Where that is not proof enough the tag says that it was forced.
    """
    forced = not found.allows(its.rules.when)
    record = _record(checkout, its, found, by=by, reason=reason, forced=forced)
    record = record.model_copy(update={"signature": signing.signature(checkout, its.package)})
    commit = str(its.run.commit)
    return promote(checkout, its.name, its.stage, commit, record, replaces=its.last, say=say)


def refused(
    checkout: Path, its: Candidate, found: Decision, say: Say, *, by: str, reason: str | None
) -> Version:
    """Register the candidate as a version that somebody has refused, though it was proven."""
    record = _record(checkout, its, found, by=by, reason=reason, forced=False)
    record = record.model_copy(update={"verdict": REFUSED, "replaced": None})
    return register(checkout, its.name, str(its.run.commit), record, say)


def _record(
    checkout: Path, its: Candidate, found: Decision, *, by: str, reason: str | None, forced: bool
) -> Record:
    known = read(checkout, its.name)
    before = None if its.against is None else known.version_at(its.name, its.against.commit)
    return Record(
        package=its.compared.digest,
        run=its.run.name,
        scores=its.compared.judged.candidate,
        verdict=found.verdict,
        sentence=found.sentence,
        evidence=dict(found.evidence),
        replaced=before and before.tag,
        reason=reason,
        by=by,
        forced=forced,
    )


def _params_of(record: Run, commit: str) -> Layer:
    text = record.read(str(PARAMS))
    if text is None:
        raise InputError(
            f"{commit[:10]} has no {PARAMS}, so it is no run; name an experiment or a commit of one"
        )
    return Layer(f"{PARAMS} of {record.name}", params_file.parsed(text, f"{PARAMS} of {record.name}"))


def _sizes(checkout: Path, run: Run, against: Assignment | None) -> Mapping[str, float]:
    """Return the megabytes of both packages, where they are known."""
    both: dict[str, Any] = {"candidate": run.metric("package").get("megabytes")}
    if against is not None:
        both["other"] = committed(checkout, against.commit).metric("package").get("megabytes")
    return {name: float(size) for name, size in both.items() if isinstance(size, int | float)}
