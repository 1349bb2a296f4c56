"""What the processes of a training tell each other: what each was asked for, and files where disks differ.

By gloo, on the CPU: so no step waits for a GPU. Nothing is pickled.
"""

import json
import shutil
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from tasks.shared.errors import InputError
from tasks.shared.role import Role

# bytes that travel at once
PART = 2**26
MARK = "seen"


class Together:
    """The processes of one training, or this one alone.

    folder: where checkpoints are; each machine has its own unless they share a disk. Made by all at once,
    when they know each other.
    """

    def __init__(self, folder: Path, role: Role) -> None:
        self.rank, self.size, self.is_first = role.rank, role.size, role.is_first
        self.is_alone = role.size == 1
        self.has_own_disk = self.are_some_apart = False
        if self.is_alone:
            return
        self.group = dist.new_group(backend="gloo")
        self._look(folder)

    def _look(self, folder: Path) -> None:
        """Find out which processes see what the first one writes, and who is the first on each machine."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{MARK}-{self.rank}").touch()
        dist.barrier(self.group)
        seen = min(int(mark.name.removeprefix(f"{MARK}-")) for mark in folder.glob(f"{MARK}-*"))
        # of each process, the first one that writes to the same disk
        firsts = self._told([seen])
        (folder / f"{MARK}-{self.rank}").unlink()
        self.leaders = sorted({first for (first,) in firsts} - {0})
        self.are_some_apart = bool(self.leaders)
        self.has_own_disk = self.rank in self.leaders

    def _told(self, numbers: list[int]) -> list[list[int]]:
        """Return the numbers of all processes, by rank."""
        found = [torch.zeros(len(numbers), dtype=torch.int64) for _ in range(self.size)]
        dist.all_gather(found, torch.tensor(numbers), self.group)
        return [told.tolist() for told in found]

    def any(self, *flags: bool) -> list[bool]:
        """Return for each flag whether any process has raised it."""
        if self.is_alone:
            return list(flags)
        told = torch.tensor([int(flag) for flag in flags])
        dist.all_reduce(told, dist.ReduceOp.MAX, self.group)
        return [bool(flag) for flag in told.tolist()]

    def least(self, number: int) -> int:
        """Return the smallest of the numbers that the processes give."""
        if self.is_alone:
            return number
        return min(told for (told,) in self._told([number]))

    def refuse_another(self, folder: Path) -> None:
        """Raise InputError where this process's training has another key than the first one's."""
        if not self.is_alone and self._bytes(folder.name.encode(), 0).decode() != folder.name:
            raise InputError(
                "this machine would train something else than the first one: "
                "give all the same code, params.yaml, data, devices and number of threads"
            )

    def wait(self) -> None:
        """Wait until all processes are here."""
        if not self.is_alone:
            dist.barrier(self.group)

    def gather(self, folder: Path) -> None:
        """Bring the files of a folder from machines with a disk of their own to that of the first process."""
        if not self.are_some_apart:
            return
        for leader in self.leaders:
            self._send(folder, leader, keep=self.is_first)
        self.wait()
        if self.has_own_disk:
            shutil.rmtree(folder, ignore_errors=True)

    def spread(self, folder: Path | None) -> Path | None:
        """Return the first process's folder, once each machine has it; None where that has none.

        folder: looked at in the first process alone.
        """
        if self.is_alone:
            return folder
        name = self._bytes(str(folder or "").encode(), 0).decode()
        where = Path(name) if name else None
        if where is not None and self.are_some_apart:
            if self.has_own_disk:
                shutil.rmtree(where, ignore_errors=True)
            self._send(where, 0, keep=self.has_own_disk)
        self.wait()
        return where

    def _send(self, folder: Path, source: int, *, keep: bool) -> None:
        """Have the files of a folder travel from one process to all, who keep them or not."""
        names: list[str] = []
        if self.rank == source:
            files = (path for path in folder.rglob("*") if path.is_file())
            names = sorted(path.relative_to(folder).as_posix() for path in files)
        names = json.loads(self._bytes(json.dumps(names).encode(), source))
        for name in names:
            self._send_file(folder / name, source, keep=keep and self.rank != source)

    def _send_file(self, file: Path, source: int, *, keep: bool) -> None:
        size = self._number(file.stat().st_size if self.rank == source else 0, source)
        if keep:
            file.parent.mkdir(parents=True, exist_ok=True)
        opened = file.open("rb" if self.rank == source else "wb") if keep or self.rank == source else None
        try:
            for start in range(0, size, PART):
                part = torch.empty(min(PART, size - start), dtype=torch.uint8)
                if self.rank == source and opened is not None:
                    part = torch.frombuffer(bytearray(opened.read(len(part))), dtype=torch.uint8)
                dist.broadcast(part, source, self.group)
                if keep and opened is not None:
                    opened.write(part.numpy().tobytes())
        finally:
            if opened is not None:
                opened.close()

    def _bytes(self, text: bytes, source: int) -> bytes:
        """Return some bytes of one process, in all."""
        size = self._number(len(text), source)
        told: Tensor = torch.zeros(size, dtype=torch.uint8)
        if self.rank == source:
            told = torch.frombuffer(bytearray(text), dtype=torch.uint8) if size else told
        dist.broadcast(told, source, self.group)
        return told.numpy().tobytes()

    def _number(self, number: int, source: int) -> int:
        told = torch.tensor([number])
        dist.broadcast(told, source, self.group)
        return int(told.item())
