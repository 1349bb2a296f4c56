"""`retrain models`."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.cli.common import OK, AsJson, say, usable
from tasks.shared.markup import shown

if TYPE_CHECKING:
    from flows.registry.tags import Record, Registry, Version


def models(
    name: str | None = None,
    /,
    *,
    get: str | None = None,
    out: Path | None = None,
    card: str | None = None,
    as_json: AsJson = False,
) -> int:
    """List the versions of models: which stages they have, what they score, what proved them, who and when.

    They are Git tags in GTO's convention, NAME@v0.0.3 and NAME#prod#4, so `dvc artifacts get` reads them too.

    Examples: `retrain models`, `retrain models ticket-intents --json`,
    `retrain models ticket-intents --get prod --out served`, `retrain models --card prod > README.md`.

    Parameters
    ----------
    name
        Only the versions of this model.
    get
        Write the package of a version (v0.0.3) or of who has a stage (prod) into the folder --out.
    out
        The folder, which must not be there yet; a signature is written beside it, into FOLDER.sig.
    card
        Print the model card of a version or of who has a stage, with what the registry says of it.
    as_json
        Print JSON, with all that the tags say.
    """
    from flows.engine import workspace
    from flows.registry.tags import read

    checkout = workspace.root()
    if card is not None:
        return _card(checkout, name, card)
    if get is not None or out is not None:
        with usable("--out", "a folder that you may write"):
            return _get(checkout, name, get, out)
    known = read(checkout, name or "*")
    if as_json:
        print(json.dumps([_described(known, version) for version in known.versions], indent=2, default=str))
        return OK
    _show(known)
    return OK


def _stages(known: "Registry", version: "Version") -> list[str]:
    """Return the stages that a version has now."""
    stages = sorted({one.stage for one in known.assignments if one.name == version.name})
    found = []
    for stage in stages:
        now = known.champion(version.name, stage)
        if now is not None and known.version_at(version.name, now.commit) == version:
            found.append(stage)
    return found


def _described(known: "Registry", version: "Version") -> dict[str, Any]:
    """Return all that is known of a version, as JSON holds it."""
    its = [one for one in known.assignments if (one.name, one.commit) == (version.name, version.commit)]
    return {
        "name": version.name,
        "version": version.version,
        "stages": _stages(known, version),
        "commit": version.commit,
        "who": version.who,
        "when": version.when,
        **_said(version.record),
        "assignments": [
            {"tag": one.tag, "who": one.who, "when": one.when, **_said(one.record)} for one in its
        ],
    }


def _said(record: "Record") -> dict[str, Any]:
    """Return what a tag says; a signature is for `retrain verify`, here it is told whether there is one."""
    said = record.model_dump(exclude_none=True, exclude={"signature"})
    return {**said, "is_signed": record.signature is not None}


def _show(known: "Registry") -> None:
    from rich.table import Table

    from flows.report.console import printing

    if not known.versions:
        print("no version is registered; `retrain promote` registers one")
        return
    table = Table("version", "stages", "score", "verdict", "run", "who", "when", box=None)
    # names are copied, and a day is read at a glance
    for column in (table.columns[0], table.columns[1], table.columns[6]):
        column.no_wrap = True
        column.overflow = "ignore"
    for version in reversed(known.versions):
        record = version.record
        metric = str(record.evidence.get("metric", ""))
        score = f"{metric} {record.scores[metric]:.4f}" if metric in record.scores else ""
        verdict = f"forced: {record.reason}" if record.forced else record.verdict or ""
        when = f"{version.when:%Y-%m-%d %H:%M}" if version.when else ""
        who = version.who.partition(" <")[0]
        stages = ", ".join(_stages(known, version))
        table.add_row(version.tag, stages, score, verdict, record.run or version.commit[:10], who, when)
    printing().print(table)


def _get(checkout: Path, name: str | None, get: str | None, out: Path | None) -> int:
    from flows.ledger import packages
    from flows.registry.rollback import meant
    from flows.registry.tags import signatures
    from tasks.shared.errors import InputError

    if get is None or out is None:
        raise InputError("give both --get VERSION (or a stage) and --out FOLDER")
    there = out.absolute()
    beside = Path(f"{there}.sig")
    for path in (there, beside):
        if path.exists():
            raise InputError(f"--out: {path} is there already; give a folder that is not")
    known, version, _ = meant(checkout, name, get)
    os.chdir(checkout)
    packages.export(checkout, version.commit, version.tag, there, say)
    signed = signatures(known, version)[:1]
    for signature in signed:
        beside.write_text(signature, "utf-8")
    print(f"{version.tag} is in {out}{f', its signature in {out}.sig' if signed else ''}")
    return OK


def _card(checkout: Path, name: str | None, which: str) -> int:
    from flows.ledger import packages
    from flows.ledger.history import committed
    from flows.registry.rollback import meant
    from flows.report.version import card

    known, version, _ = meant(checkout, name, which)
    os.chdir(checkout)
    run = committed(checkout, version.commit, version.tag)
    with packages.TakenOut(checkout, run, version.tag, say) as out:
        text = (out.folder(packages.PACKAGE, ("README.md",)) / "README.md").read_text("utf-8", "replace")
    print(shown(card(known, version, text)), end="")
    return OK
