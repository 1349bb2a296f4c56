"""How loud a sound is at which pitch and when: for pictures, and for what is predicted without a network."""

from itertools import pairwise
from pathlib import Path

import numpy as np

from tasks.problems.common.kept import there
from tasks.problems.common.sounds import serve

RATE = 16_000
# samples: 25 and 10 ms
WINDOW, STEP = 400, 160
FLOOR = 1e-8
# hertz, and how they are perceived (O'Shaughnessy 1987)
LOWEST, MEL, BREAK = 60, 2595, 700


def bands(sound: np.ndarray, number: int) -> np.ndarray:
    """Return the log of the power in each of a number of mel bands, (frames, bands), lowest first."""
    windows = np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[::STEP]
    power = np.abs(np.fft.rfft(windows * np.hanning(WINDOW), 2 * WINDOW, axis=1)) ** 2
    lowest, highest = (MEL * np.log10(1 + hertz / BREAK) for hertz in (LOWEST, RATE / 2))
    edges = BREAK * (10 ** (np.linspace(lowest, highest, number + 1) / MEL) - 1)
    first = np.unique(np.rint(edges / RATE * 2 * WINDOW).astype(int)[:-1])
    found: np.ndarray = np.log(np.add.reduceat(power, first, axis=1) + FLOOR)
    return found


def read(file: Path, seconds: float) -> np.ndarray:
    """Return the beginning of a kept file's sound, (samples,)."""
    return serve.read(str(there(file)), RATE, seconds)[0]


def picture(file: Path, seconds: float, height: int = 48) -> np.ndarray:
    """Return a spectrogram as a picture, low pitches at the bottom, of the same size for any sound."""
    found = bands(read(file, seconds), height)
    columns = np.linspace(0, len(found) - 1, 2 * height).astype(int)
    upright: np.ndarray = found[columns].T[::-1]
    return upright


def summary(file: Path, seconds: float, number: int = 24, parts: int = 10) -> np.ndarray:
    """Return the mean of each band in each tenth of a sound, and how long it is."""
    sound = read(file, seconds)
    found = bands(sound, number)
    edges = np.linspace(0, len(found), parts + 1).astype(int)
    means = [found[low : max(low + 1, high)].mean(0) for low, high in pairwise(edges)]
    return np.concatenate([*means, [np.log(len(sound))]])
