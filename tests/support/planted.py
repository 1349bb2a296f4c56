"""Secrets planted where users put them, and the search for them everywhere else."""

import subprocess
import uuid
from base64 import b64encode
from collections.abc import Iterable
from pathlib import Path


class Planted:
    """Secrets by the place where they were planted, each unlike any other text."""

    def __init__(self) -> None:
        self.secrets: dict[str, str] = {}

    def __getitem__(self, place: str) -> str:
        return self.secrets.setdefault(place, f"planted{uuid.uuid4().hex}")

    def in_bytes(self, content: bytes) -> list[str]:
        """Return the places whose secrets stand in these bytes, as they are or as HTTP sends them."""
        found = []
        for place, secret in self.secrets.items():
            # three ways to stand in base64, by what comes before it
            coded = [b64encode(b"x" * skip + secret.encode())[4:-4] for skip in range(3)]
            if any(one in content for one in (secret.encode(), *coded)):
                found.append(place)
        return found

    def leaks(self, root: Path, planted_in: Iterable[str] = ()) -> dict[str, list[str]]:
        """Return where secrets stand below a checkout, but for the files they were planted in: files, and Git's objects."""
        left_out = {root / name for name in planted_in}
        files = [
            path
            for path in root.rglob("*")
            if path.is_file() and not path.is_symlink() and path not in left_out
        ]
        found = {str(path.relative_to(root)): self.in_bytes(path.read_bytes()) for path in files}
        batch = ["git", "cat-file", "--batch-all-objects", "--batch"]
        found["Git's objects"] = self.in_bytes(
            subprocess.run(batch, cwd=root, capture_output=True, check=True).stdout
        )
        return {where: places for where, places in found.items() if places}
