"""How far something is, as an artifact in the UI."""

from contextlib import suppress
from uuid import UUID

import httpx
from prefect.artifacts import create_progress_artifact, update_progress_artifact


class ProgressArtifact:
    """How far a run is. A server that does not take it, which ends no run, is told the next time."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.its_id: UUID | None = None

    def show(self, percent: float, words: str) -> None:
        """Create or update it; percent: from 0 to 100."""
        with suppress(httpx.HTTPError):
            if self.its_id is not None:
                update_progress_artifact(self.its_id, progress=percent, description=words)
                return
            made = create_progress_artifact(percent, key=self.key, description=words)
            self.its_id = made if isinstance(made, UUID) else None
