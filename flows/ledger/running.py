"""An isolated run and garbage collection: a ref names what the run has put into the shared cache."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dvc.config import Config
from dvc.lock import make_lock

from flows.git import refs


@contextmanager
def without_gc(checkout: Path) -> Iterator[None]:
    """Hold the lock that `dvc gc` and `retrain gc` hold for all of their work; a run holds it briefly."""
    place = checkout / ".dvc/tmp"
    place.mkdir(exist_ok=True)
    hardlink = Config(str(checkout / ".dvc"))["core"].get("hardlink_lock", False)
    with make_lock(str(place / "lock"), tmp_dir=str(place), hardlink_lock=hardlink, wait=True):
        yield


@dataclass(frozen=True)
class IsolatedRun:
    """An isolated run: the checkout it belongs to, the worktree it works in, and its name."""

    home: Path
    folder: Path
    name: str

    @contextmanager
    def marked(self) -> Iterator[None]:
        """Mark what the run makes until it ends; DVC fails when a ref goes while it collects garbage."""
        self.mark()
        try:
            yield
        finally:
            with without_gc(self.home):
                refs.unmark_running(self.home, self.name)

    def mark(self) -> None:
        """Name by a ref what stands in the worktree's dvc.lock and .dvc files now."""
        refs.mark_running(self.folder, self.name)
