"""What becomes of a run's model when the run is over, as `promote.when` says: a stage, or why not."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.ledger.results import Experiment
from tasks.shared.errors import InputError
from tasks.shared.params import Promote
from tasks.shared.say import Say

if TYPE_CHECKING:
    from flows.registry.decision import Decision
    from flows.registry.promotion import Promoted

BY = "promote.when"


@dataclass(frozen=True)
class Outcome:
    """What was decided of a run's model, and what it is now.

    decision: None where nothing could be decided; sentence says why. waits: somebody has to approve it.
    """

    sentence: str
    decision: "Decision | None" = None
    promoted: "Promoted | None" = None
    waits: bool = False

    @property
    def proof(self) -> str:
        """What is proven, in a sentence."""
        return self.decision.sentence if self.decision else self.sentence


def follow(checkout: Path, saved: Experiment | None, rules: Promote, say: Say) -> Outcome | None:
    """Promote the model of a run that is an experiment by now, if that was asked for and it is proven.

    None: nothing was asked for. What goes wrong is a sentence: the run itself is done, and its model is kept.
    """
    if rules.when == "never":
        return None
    if saved is None:
        by_hand = "a run in the checkout is promoted by hand: commit it, then `retrain promote`"
        return Outcome(f"Not promoted: {by_hand}.")
    # what decides takes a third of a second to import, and most runs have nothing to decide
    from flows.registry import candidate

    try:
        with candidate.candidate(checkout, saved.commit, saved.name, say) as its:
            found = candidate.decided(checkout, its, say)
            if not found.allows(rules.when):
                return Outcome(refusal(found), found)
            if rules.when == "ask":
                approve = f"It waits for somebody to approve it: `retrain promote {its.run.name}`."
                return Outcome(f"{found.sentence} {approve}", found, waits=True)
            done = candidate.promoted(checkout, its, found, say, by=f"{BY}: {rules.when}")
    except InputError as error:
        return Outcome(f"Not promoted: {error}.")
    now = f"Promoted: {done.version.tag} has {done.assignment.stage}."
    return Outcome(f"{found.sentence} {now}", found, done)


def refusal(found: "Decision") -> str:
    """Return why a model is not promoted, in a sentence."""
    if found.verdict == "same":
        return found.sentence
    held = "".join(f" Held: {reason}." for reason in found.held)
    return f"{found.sentence}{held} Not promoted."
