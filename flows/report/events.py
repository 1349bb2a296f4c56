"""What becomes of models, as Prefect's events: retrain.model.promoted, refused, waiting, rolled-back.

Automations tell people of them (flows/server/automations.py), and may start what a new champion asks for.
"""

import shlex
from typing import Literal

from prefect import runtime
from prefect.events import emit_event
from prefect.utilities.urls import url_for

What = Literal["promoted", "refused", "waiting", "rolled-back"]
NEXT_STEP = {
    "promoted": "`retrain models {name} --get {stage} --out FOLDER` has it; `retrain rollback` undoes it.",
    "refused": "`retrain promote {run}` decides anew, with --force and a --reason against the verdict.",
    "waiting": "Press Resume and answer, or `retrain promote {run}`.",
    "rolled-back": "`retrain models {name}` shows who had {stage} when.",
}


def send(
    what: What, name: str, stage: str, sentence: str, *, run: str = "", version: str = "", by: str = ""
) -> None:
    """Send the event of a model's name and stage, with the run it came from and the version it became.

    Inside a flow run the event links to it. sentence: the verdict, or what was done, for people.
    """
    resource = {
        "prefect.resource.id": f"retrain.model.{name}",
        "prefect.resource.name": version or name,
        "retrain.stage": stage,
    }
    mine = runtime.flow_run.id
    payload = {
        "sentence": sentence,
        "next_step": NEXT_STEP[what].format(name=name, stage=stage, run=shlex.quote(run)),
        "url": (url_for("flow-run", obj_id=mine) if mine else None) or "",
        "version": version,
        "stage": stage,
        "run": run,
        "by": by,
    }
    emit_event(f"retrain.model.{what}", resource, payload=payload)
