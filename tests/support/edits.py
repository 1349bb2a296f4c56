"""What people and failing disks do to the files of a clone."""

import os
import shutil
from pathlib import Path

from tests.support.project import Project


def rewrite(file: Path, old: str, new: str) -> None:
    """Replace the first `old` in a file that may be read-only."""
    text = file.read_text("utf-8")
    assert old in text
    file.unlink()
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def remove(project: Project, *paths: str) -> None:
    """Remove folders of a clone."""
    for path in paths:
        shutil.rmtree(project.root / path)


def digest(path: Path) -> str:
    """Return the hash by which the DVC cache names an object."""
    return path.parent.name + path.name


def flip(path: Path) -> str:
    """Change one byte and leave mode, size and time as they were; return the object's name."""
    before = path.stat()
    path.chmod(0o644)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0x15
    path.write_bytes(raw)
    path.chmod(before.st_mode & 0o777)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return digest(path)
