"""Sounds: how fast they become features, as our tokenize stage makes them.

Beside `features.encoded` runs a bare loop of the same library calls (soundfile, soxr, the feature extractor)
with as many workers. All sounds are made here.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.measure import Options, Table, compare, in_turn
from benchmarks.pictures import in_threads
from tasks.problems.common.sounds import features

REPEAT = 5
SOUNDS, RATE, SECONDS = 200, 22_050, (1.0, 4.0)
OURS, BARE = "ours, to Arrow", "the library's calls in a bare loop"


def measure(options: Options) -> Iterator[Table]:
    """Yield a table of each kind of features: log-mel frames, those of a fixed window, waveforms."""
    from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2FeatureExtractor, WhisperFeatureExtractor

    kinds = (SeamlessM4TFeatureExtractor, WhisperFeatureExtractor, Wav2Vec2FeatureExtractor)
    with tempfile.TemporaryDirectory(prefix="retrain-bench-") as name:
        files = made(Path(name))
        for kind in kinds:
            yield _rates(kind(max_seconds=SECONDS[1]), files, options.repeat or REPEAT)


def made(folder: Path) -> list[Path]:
    """Write tones in noise, of some seconds each, 16 bits, one channel."""
    import soundfile

    draw, files = np.random.default_rng(0), []
    for number in range(SOUNDS):
        times = np.arange(int(draw.uniform(*SECONDS) * RATE)) / RATE
        tone = np.sin(2 * np.pi * draw.uniform(100, 2000) * times) / 3 + draw.normal(size=len(times)) / 50
        files.append(folder / f"{number}.wav")
        soundfile.write(files[-1], tone, RATE, subtype="PCM_16")
    return files


def _rates(extractor: Any, files: list[Path], repeat: int) -> Table:
    import soundfile
    import soxr

    folder, names = files[0].parent, pl.Series([file.name for file in files])

    def ours() -> None:
        for _ in features.encoded(extractor, names, folder):
            pass

    def bare(file: Path) -> bytes:
        sound, rate = soundfile.read(file, dtype="float32")
        heard = soxr.resample(sound, rate, extractor.sampling_rate)
        found = extractor(heard, sampling_rate=extractor.sampling_rate, return_tensors="np")
        return bytes(found[extractor.model_input_names[0]].tobytes())

    programs = {OURS: _rate(ours), BARE: _rate(lambda: in_threads(bare, files))}
    title = f"{SOUNDS} WAVs of {SECONDS[0]:g} to {SECONDS[1]:g} s at {RATE} Hz, {type(extractor).__name__}"
    return compare(title, "sounds/s", in_turn(programs, repeat), OURS, {BARE: ">= 0.90"})


def _rate(program: Callable[[], None]) -> Callable[[], float]:
    def measured() -> float:
        began = time.perf_counter()
        program()
        return SOUNDS / (time.perf_counter() - began)

    return measured
