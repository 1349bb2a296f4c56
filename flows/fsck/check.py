"""`retrain check`: examine what a revision needs of the DVC cache, mend it if asked to, and report."""

from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from flows.fsck.examination import Examination, Finding, What
from flows.fsck.repair import Repair
from flows.git.commands import refuse_planted
from flows.ledger.experiments import commit_named, experiments
from tasks.shared.locks import alone

Say = Callable[[str], None]


def check(checkout: Path, revision: str | None, *, repair: bool, show: Say, say: Say) -> bool:
    """Show what of the cache is not as it should be, and a summary; return whether all is whole, or has been mended.

    revision: a commit, branch, tag or experiment; None for the checkout as it stands.
    Raises InputError when there is no such revision, or its dvc.yaml or dvc.lock cannot be read.
    """
    refuse_planted(checkout)
    examination = Examination(checkout, commit_named(checkout, revision) if revision else None)
    lock = alone(checkout / ".retrain" / "run.lock", lambda who: say(f"waiting for another run in this checkout ({who})"))
    mender = Repair(examination, say, show) if repair else None
    with lock if repair else nullcontext():
        found = _objects(examination, mender, show)
        if mender:
            mender.forget()
    forged = [f"{where}  {wrong}; find out who wrote it (`git log`), and take an older one of it" for where, wrong in examination.forged.items()]
    experiments(checkout, forged.append)
    for told in forged:
        show(f"{What.forged:9} {told}")
    bad_records = list(examination.bad_records())
    for record, what, why in bad_records:
        show(f"{what:9} {record.path.name}  {record} {why}")
        if mender and record.stage in mender.doubtful:
            record.set_aside(mender.refused)
        elif mender:
            show(f"mended    {record.path.name}  {record.mend()}")
    counts = Counter(finding.what for finding in found.values())
    counts += Counter(what for _, what, _ in bad_records)
    counts += Counter({What.forged: len(forged)})
    unmended = [item for item in examination.findings() if not item.object.spare or item.object.path.exists()]
    left = len(unmended) + len(forged)
    words = ", ".join(f"{counts[what]} {what}" for what in What if counts[what]) or "all whole"
    outcome = f"; {counts.total() - left} mended" if repair and counts else ""
    if outcome and left:
        outcome += f", {left} not"
    show(f"{examination.count} objects, {_size(examination.size)}: {words}{outcome}")
    return not left if repair else not counts


def _objects(examination: Examination, repair: Repair | None, show: Say) -> dict[Path, Finding]:
    """Show what is wrong with the objects and mend what can be; return all that was found.

    A mended listing may show more, so look again until nothing new is found; only then is all known that computing must not build on.
    """
    found: dict[Path, Finding] = {}
    computed = False
    while True:
        now = examination.findings()
        new = [finding for finding in now if finding.object.path not in found]
        for finding in new:
            found[finding.object.path] = finding
            show(str(finding))
            if repair and finding.what != What.dangerous and (source := repair.from_elsewhere(finding)):
                show(f"mended    {finding.object.hash}  from {source}")
        if repair is None or (computed and not new):
            break
        if not new:
            computed = True
            left = [finding for finding in now if finding.what != What.dangerous]
            repair.distrust([finding.object for finding in found.values() if finding.what == What.damaged])
            if left:
                repair.by_computing(left)
                examination.findings()
                for finding in left:
                    _show_computed(finding, examination, repair, show)
    return found


def _show_computed(finding: Finding, examination: Examination, repair: Repair, show: Say) -> None:
    """Show what became of an object that had to be computed again."""
    item = finding.object
    stages = [stage for stage in item.places.values() if stage]
    aside = repair.aside(item)
    if item.path in examination.whole:
        repair.relink(item)
        aside.unlink(missing_ok=True)
        show(f"mended    {item.hash}  by computing {stages[0]} again")
        return
    if item.spare:
        aside.unlink(missing_ok=True)
        show(f"mended    {item.hash}  by removing it: only the run-cache named it")
        return
    why = next((repair.reasons[stage] for stage in stages if stage in repair.reasons), None)
    why = why or ("what it depends on could not be mended" if stages else "no copy of it in the checkout, in a DVC remote or where it came from")
    kept = f"; what is left of it is in {aside}" if aside.exists() else ""
    show(f"not mended {item.hash}  {item}: {why}{kept}")


def _size(number: float) -> str:
    """Return a number of bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:  # noqa: PLR2004
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"
