"""Weights & Biases: the server its key is for; without a key, offline below WANDB_DIR or in the checkout."""

import netrc
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from urllib.parse import urlsplit

os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
import wandb

from flows.trackers.run import PROJECT, Measured, Run
from tasks.shared import tracking

STEP = "train/global_step"
# seconds for a server to answer
ANSWERS = 15


class Wandb:
    """A run of a project, told what retrain knows: no code, no console, no checkpoint."""

    def begin(self, run: Run, known: str | None) -> str:
        """Begin a run, or go on in the one that has this id."""
        place = run.place / "wandb"
        place.mkdir(parents=True, exist_ok=True)
        self.run = wandb.init(
            project=run.project or os.environ.get("WANDB_PROJECT") or PROJECT,
            name=run.name,
            id=known or secrets.token_hex(4),
            resume="allow",
            dir=os.environ.get("WANDB_DIR") or str(place),
            mode=None if os.environ.get("WANDB_MODE") or _has_key() else "offline",
            config={**run.params, "git_commit": run.commit, "key": run.key},
            settings=wandb.Settings(
                console="off",
                disable_code=True,
                disable_git=True,
                silent=True,
                symlink=False,
                init_timeout=ANSWERS,
            ),
        )
        # as the Trainer's own callback does
        self.run.define_metric(STEP)
        self.run.define_metric("*", step_metric=STEP, step_sync=True)
        return str(self.run.id)

    def scores(self, measured: Sequence[Measured]) -> None:
        """Log each step."""
        for step, scores, _ in measured:
            self.run.log({**scores, STEP: step})

    def text(self, name: str, text: str) -> None:
        """Set it in the summary."""
        self.run.summary[name] = text

    def take(self) -> None:
        """W&B keeps it in a file of its own, and sends it when it can."""

    def end(self, state: str) -> None:
        """Finish the run, which may go on later."""
        self.run.finish(exit_code=int(state == tracking.FAILED))


def _has_key() -> bool:
    """Return whether W&B will find a key: it would ask for one, and nobody sees that."""
    if any(os.environ.get(name) for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE")):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    with suppress(OSError, netrc.NetrcParseError):
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    return False
