"""Short sounds as bytes of a file: of a pitch that goes by the row's topic, in any format that is read."""

import io

import numpy as np
import soundfile

RATE = 8000
# hertz, by the number of the topic
PITCHES = (300.0, 900.0, 2100.0)


def waves(
    pitch: float, seconds: float = 0.3, rate: int = RATE, channels: int = 1, seed: int = 0
) -> np.ndarray:
    """Return a tone in noise that grows and fades, (samples, channels) float32."""
    times = np.arange(int(seconds * rate)) / rate
    noise = np.random.default_rng(seed).normal(size=len(times))
    tone = np.sin(2 * np.pi * pitch * times) * np.hanning(len(times)) / 2 + noise / 100
    return np.repeat(tone[:, None], channels, axis=1).astype(np.float32)


def written(samples: np.ndarray, rate: int = RATE, kind: str = "WAV", subtype: str | None = None) -> bytes:
    """Return what a file of a format holds."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype=subtype)
    return file.getvalue()


def sound(number: int) -> bytes:
    """Return the WAV of a row: its pitch and its length go by the number."""
    return written(waves(PITCHES[number % len(PITCHES)], 0.2 + number % 7 / 20, seed=number))
