"""What a sweep is asked for, checked before anything runs: what is searched, what is fixed, its name."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from flows.engine.run_name import PLAIN
from flows.sweeps.space import Searched, parsed, refuse_incomparable
from tasks import problems
from tasks.shared.errors import InputError
from tasks.shared.params import Params
from tasks.shared.params_file import Layer, lay_over

LONGEST = 40
# the flow that trains, the deployment that runs trials where a worker is there, and the word for none
TRAINS, USUAL, NOWHERE = "retrain", "retrain/manual", "none"


@dataclass(frozen=True)
class Asked:
    """A sweep as it is asked for.

    params: what the search goes out from. fixed: what all trials have of it.
    """

    name: str
    space: Sequence[Searched]
    params: Params
    fixed: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return what makes it this sweep, as JSON holds it: with another, its trials do not compare."""
        return {"search": [str(one) for one in self.space], "params": self.fixed}


def asked(search: Iterable[str], name: str, *layers: Layer) -> Asked:
    """Return the sweep that is asked for; raise InputError when it cannot be.

    name: what it is called; empty: by a part of the digest of all that is asked for, so that the same command
    goes on with it. layers: params.yaml, and what is laid over it.
    """
    space, params = parsed(search, *layers), lay_over(*layers)
    refuse_incomparable(space, _score(params))
    fixed = _fixed(params, {one.param for one in space})
    if name and not (PLAIN.fullmatch(name) and len(name) <= LONGEST):
        allowed = f"up to {LONGEST} letters, digits, dashes and underscores, the first a letter or digit"
        raise InputError(f"name '{name}' cannot stand in the names of runs; give {allowed}")
    found = Asked(name, space, params, fixed)
    if name:
        return found
    digest = hashlib.sha256(json.dumps(found.to_dict(), sort_keys=True).encode()).hexdigest()
    return Asked(f"sweep-{digest[:8]}", space, params, fixed)


def refuse_other_flow(deployment: str) -> None:
    """Raise InputError for a deployment whose runs train nothing: its name begins with that of its flow."""
    if deployment not in ("", NOWHERE) and deployment.partition("/")[0] != TRAINS:
        given = f"deployment '{deployment}' is none of the flow {TRAINS}, whose runs train"
        raise InputError(f"{given}; give one such as {USUAL}, or {NOWHERE}")


def _score(params: Params) -> str:
    """Return the score on validation by which trials are compared."""
    problem = problems.load(params.problem, params.own)
    return "loss" if problem.validation_rows == 0 else problem.headline


def _fixed(params: Params, searched: Iterable[str]) -> dict[str, Any]:
    """Return what all trials have, by sections: all that decides what a run makes, but what is searched."""
    every, deciding = params.model_dump(mode="json"), params.deciding()
    fixed = {name: value for name, value in every.items() if name in deciding}
    # found out when a run starts
    for param in (*searched, "model.revision"):
        *sections, name = param.split(".")
        here = fixed
        for section in sections:
            here = here[section]
        here.pop(name, None)
    return fixed
