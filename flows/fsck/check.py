"""`retrain check`: examine what a revision needs of the DVC cache, repair it if asked to, and report."""

from collections import Counter
from contextlib import nullcontext
from pathlib import Path

from rich.filesize import decimal

from flows.fsck.examination import Examination, Needed, What
from flows.fsck.repair import Repair
from flows.git.commands import refuse_planted
from flows.ledger.experiments import commit_named, experiments
from flows.ledger.journal import RUN_LOCK
from flows.ledger.run_cache import names, records, wrong
from flows.ledger.validation import ForgedError
from tasks.shared.locks import alone
from tasks.shared.say import Say


def check(checkout: Path, revision: str | None, *, repair: bool, show: Say, say: Say) -> bool:
    """Show what of the cache is not as it should be, and a summary.

    Returns whether all is as it should be, or has been repaired.

    revision: a commit, branch, tag or experiment; None for the checkout as it stands.
    Raises InputError when there is no such revision, or its dvc.yaml or dvc.lock cannot be read.
    """
    refuse_planted(checkout)
    told = "waiting for another run in this checkout"
    lock = alone(checkout / RUN_LOCK, lambda who: say(f"{told} ({who})"))
    with lock if repair else nullcontext():
        examination = Examination(checkout, commit_named(checkout, revision) if revision else None)
        repairs = Repair(examination, say, show) if repair else None
        counts = Counter([*_records(examination, repairs, show), *_objects(examination, repairs, show)])
        if repairs:
            repairs.forget()
    forged = []
    for where, why in examination.forged.items():
        forged.append(f"{where}  {why}; find out who wrote it (`git log`), and take an older one of it")
    experiments(checkout, forged.append)
    for line in forged:
        show(f"{What.forged:9} {line}")
    counts[What.forged] += len(forged)
    left = len([item for item in examination.objects.values() if item.wrong]) + len(forged)
    words = ", ".join(f"{counts[what]} {what}" for what in What if counts[what]) or "all whole"
    if repairs and counts.total():
        words += f"; {counts.total() - left} repaired" + (f", {left} not" if left else "")
    needed = [item for item in examination.objects.values() if item.size is not None or not item.is_spare]
    show(f"{len(needed)} objects, {decimal(sum(item.size or 0 for item in needed))}: {words}")
    return not (left if repairs else counts.total())


def _records(examination: Examination, repairs: Repair | None, show: Say) -> list[What]:
    """Show what is wrong with records of the run-cache, and repair it; return all that was found."""
    stages = {names(entry)[0]: name for name, entry in examination.recorded.items() if entry.get("outs")}
    found = []
    for path, error in wrong(records(examination.repo)):
        what = What.forged if isinstance(error, ForgedError) else What.damaged
        found.append(what)
        stage = stages.get(path.parent.name)
        record = f"stage {stage}: its record in the run-cache" if stage else "a record in the run-cache"
        show(f"{what:9} {path.name}  {record} {error}")
        if repairs:
            show(f"repaired  {path.name}  {repairs.record(path)}")
    return found


def _objects(examination: Examination, repairs: Repair | None, show: Say) -> list[What]:
    """Show what is wrong with the objects, and repair what can be; return all that was found.

    A listing that has come back may name more that is wrong. Nothing is computed before all is known, and
    what was computed from damage is invalidated.
    """
    found: dict[Path, What] = {}
    while True:
        left = []
        while new := [item for item in examination.wrong_objects() if item.path not in found]:
            for item in new:
                assert item.wrong
                found[item.path] = item.wrong
                show(item.in_words())
                if repairs is None or item.wrong == What.dangerous:
                    continue
                if source := repairs.from_elsewhere(item):
                    show(f"repaired  {item.oid}  from {source}")
                else:
                    left.append(item)
        if repairs is None:
            return list(found.values())
        repairs.invalidate()
        if not left:
            return list(found.values())
        repairs.by_computing(left)
        examination.wrong_objects()
        for item in left:
            show(_result(item, repairs))


def _result(item: Needed, repairs: Repair) -> str:
    """Return a line that says what became of an object that had to be computed again."""
    if item.size is not None:
        repairs.relink(item)
        return f"repaired  {item.oid}  by computing {item.stages[0]} again"
    if item.is_spare:
        return f"repaired  {item.oid}  by removing it: only the run-cache named it"
    reasons = [repairs.reasons[stage] for stage in item.stages if stage in repairs.reasons]
    if reasons:
        why = reasons[0]
    elif item.stages:
        why = "what it depends on could not be repaired"
    else:
        why = "no copy of it in the checkout, in a DVC remote or where it came from"
    aside = repairs.aside / item.oid
    kept = f"; what is left of it is in {aside}" if aside.exists() else ""
    return f"not repaired {item.oid}  {item}: {why}{kept}"
