"""Pictures: how fast they become pixels, the memory of ingest, what many files cost an unchanged run.

All pictures are made here. Pixels: `pixels.encoded`, as our tokenize stage calls it, beside the same Pillow
calls in a bare loop with as many workers, and beside transformers' image processor in such a loop.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from benchmarks.clones import fresh_clone, seconds
from benchmarks.measure import Options, Table, compare, in_turn, peak
from benchmarks.training import results_of
from tasks import problems
from tasks.ingest import ingest
from tasks.problems.common import pixels
from tasks.shared.files import write_json
from tasks.shared.params import Data, Ingest
from tasks.shared.paths import Paths

REPEAT = 5
PHOTOS, SIDE = 400, 64
FEW, TIMES = 500, 10
MANY = 20_000
OURS, BARE, PROCESSOR = "ours, to Arrow", "Pillow in a bare loop", "image processor in a loop"
RUN, STATUS = "retrain run, nothing to do", "dvc status"
SMALL = {"type": "resnet", "embedding_size": "8", "hidden_sizes": "[8]", "depths": "[1]"}
QUICK = ("--train.max-steps", "2", "--evaluate.n-resamples", "100")


def measure(options: Options) -> Iterator[Table]:
    """Yield a table of each."""
    yield _rates(options.repeat or REPEAT)
    yield _memory()
    yield _unchanged(options.repeat or REPEAT)


def made(folder: Path, count: int, size: tuple[int, int], suffix: str) -> Path:
    """Write pictures of three colours with noise, in a folder each."""
    draw = np.random.default_rng(0)
    for number in range(count):
        noise = draw.integers(-30, 30, (size[1], size[0], 3))
        shade = np.eye(3)[number % 3] * 150 + 50
        file = folder / "rgb"[number % 3] / f"{number}{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(shade + noise, 0, 255).astype(np.uint8)).save(file)
    return folder


def _rates(repeat: int) -> Table:
    from transformers import ViTImageProcessorPil

    with tempfile.TemporaryDirectory(prefix="retrain-bench-") as name:
        folder = made(Path(name), PHOTOS, (512, 384), ".jpg")
        files = sorted(folder.rglob("*.jpg"))
        names = pl.Series([file.relative_to(folder).as_posix() for file in files])
        processor = ViTImageProcessorPil(size={"height": SIDE, "width": SIDE})

        def ours() -> None:
            for _ in pixels.encoded(processor, names, folder):
                pass

        def bare(file: Path) -> bytes:
            with Image.open(file) as image:
                return np.asarray(image.convert("RGB").resize((SIDE, SIDE), processor.resample)).tobytes()

        def processed(file: Path) -> bytes:
            with Image.open(file) as image:
                found = processor(
                    image.convert("RGB"), do_rescale=False, do_normalize=False, return_tensors="np"
                )
            return bytes(found["pixel_values"][0].tobytes())

        programs = {
            OURS: ours,
            BARE: lambda: in_threads(bare, files),
            PROCESSOR: lambda: in_threads(processed, files),
        }
        measured = in_turn({name: _rate(program) for name, program in programs.items()}, repeat)
    title = f"{PHOTOS} JPEG photos of 512 x 384 to {SIDE} x {SIDE}"
    return compare(title, "pictures/s", measured, OURS, {BARE: ">= 0.90"})


def in_threads(work: Callable[[Path], bytes], files: Sequence[Path]) -> None:
    """Do the same with each file, in as many threads as our own reading of files has."""
    with ThreadPoolExecutor() as threads:
        for _ in threads.map(work, files):
            pass


def _rate(program: Callable[[], None]) -> Callable[[], float]:
    def measured() -> float:
        began = time.perf_counter()
        program()
        return PHOTOS / (time.perf_counter() - began)

    return measured


def _memory() -> Table:
    """Return the most memory that ingest takes of some pictures, and of ten times as many."""
    megabytes = []
    for count in (FEW, TIMES * FEW):
        with tempfile.TemporaryDirectory(prefix="retrain-bench-") as name:
            folder = made(Path(name) / "raw", count, (128, 128), ".png")
            found = results_of(["benchmarks.pictures", str(folder)], Path(name), accuracy=False)
            megabytes.append(float(found["megabytes"]))
    ratio = megabytes[1] / megabytes[0]
    cells = [
        *(f"{size:.0f}" for size in megabytes),
        f"{ratio:.2f}",
        f"<= 1.10 {'met' if ratio <= 1.1 else 'MISSED'}",
    ]
    return Table(
        "Memory of ingest", (f"MB, {FEW} pictures", f"MB, {TIMES * FEW}", "ratio", "target"), [cells]
    )


def _unchanged(repeat: int) -> Table:
    """Return what a run over many small files costs when nothing has changed, beside `dvc status`."""
    with fresh_clone() as project:
        folder = made(project.root / "data/raw/many", MANY, (16, 16), ".png")
        seconds(project, "dvc", "add", "-q", str(folder))
        sizes = [word for name, value in SMALL.items() for word in (f"--model.from_scratch.{name}", value)]
        words = ["--problem", "image_classification", "--data.path", "data/raw/many", "--model.name", "none"]
        words += ["--model.revision", "none", "--image_classification.image_size", "16"]
        seconds(project, "flows", "run", *words, *sizes, *QUICK)
        programs = {
            RUN: lambda: seconds(project, "flows", "run"),
            STATUS: lambda: seconds(project, "dvc", "status", "-q"),
        }
        measured = in_turn(programs, repeat)
    return compare(f"{MANY:,} small files, all cached", "s", measured, RUN, {STATUS: "<= 1.30"})


def stage() -> None:
    """Ingest a folder of pictures, and tell how much memory that took."""
    raw, _, out = sys.argv[1:]
    problem, paths = problems.load("image_classification"), Paths(Path(out) / "stage")
    ingest(Data(path=raw), Ingest(), problem, paths)
    write_json(Path(out) / "all_results.json", {"megabytes": peak()})


if __name__ == "__main__":
    stage()
