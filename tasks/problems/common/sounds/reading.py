"""Which files are sounds: WAV, FLAC, OGG and MP3, whole ones, of no more than is asked for.

Only libsndfile decodes them, and it is shown nothing that does not begin as one of these does.
"""

import io
import re
from typing import Any

from tasks.problems import Media, Unusable
from tasks.problems.common.brief import brief
from tasks.shared.params import Ingest

ENDINGS = (".flac", ".mp3", ".oga", ".ogg", ".opus", ".wav")
# by how a file begins; an MP3's first frame begins with eleven ones
STARTS = {b"RIFF": "WAV", b"fLaC": "FLAC", b"OggS": "OGG", b"ID3": "MP3"}
SUFFIXES = {"FLAC": ".flac", "MP3": ".mp3", "OGG": ".ogg", "WAV": ".wav", "WAVEX": ".wav"}
ELEVEN_ONES = 0xFFE0
CHANNELS = 8
RATES = (1_000, 768_000)
BLOCK = 1 << 16
# what libsndfile says of a WAV that has fewer bytes than it names
FEWER = re.compile(r"^data : (\d+) \(should be (\d+)\)", re.MULTILINE)
# the size that a program writes which does not know it yet
UNKNOWN = (0, 0x7FFFFFFF, 0xFFFFFFFF)
# the bit of an OGG page that says that it is the last one
LAST, FLAGS = 4, 5
# bytes of its header before the sizes of its segments
PAGE = 27
# where an MP3 says how long it is, if it does
HEADER = 4096


def keep(content: bytes, params: Ingest) -> Media:
    """Return the file as it is, its seconds and its rate.

    Raises Unusable where it is no sound, an empty, truncated or damaged one, one that holds what is no
    number, or one that is longer than `ingest.max_seconds`.
    """
    import soundfile

    if _format(content) is None:
        raise Unusable("no sound that can be read: it begins as no WAV, FLAC, OGG or MP3 does")
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as opened:
            frames = _heard(opened, params)
            _refuse_less(opened, frames, content)
            facts = {"seconds": frames / opened.samplerate, "rate": opened.samplerate}
            return Media(content, SUFFIXES[opened.format], facts)
    except (Unusable, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever a decoder raises of a damaged file
        raise Unusable(brief("no sound that can be read, or a damaged one", error)) from None


def _format(content: bytes) -> str | None:
    named = next((name for start, name in STARTS.items() if content.startswith(start)), None)
    is_frame = int.from_bytes(content[:2], "big") & ELEVEN_ONES == ELEVEN_ONES
    return named or ("MP3" if is_frame else None)


def _heard(opened: Any, params: Ingest) -> int:
    """Return how many samples of each channel there are; decodes them all, some at a time."""
    import numpy as np

    if opened.format not in SUFFIXES:
        raise Unusable(f"no sound that can be read: {opened.format} in disguise")
    if opened.channels > CHANNELS:
        raise Unusable(f"{opened.channels} channels, more than {CHANNELS}")
    if not RATES[0] <= opened.samplerate <= RATES[1]:
        raise Unusable(f"{opened.samplerate} samples a second, not {RATES[0]} to {RATES[1]}")
    most, frames = params.max_seconds * opened.samplerate, 0
    while len(block := opened.read(BLOCK, dtype="float32", always_2d=True)):
        frames += len(block)
        if frames > most:
            raise Unusable(f"longer than ingest.max_seconds {params.max_seconds:g}")
        if not np.isfinite(block).all():
            raise Unusable("a sample is NaN or infinite")
    return frames


def _refuse_less(opened: Any, frames: int, content: bytes) -> None:
    if _is_truncated(opened, frames, content):
        raise Unusable("truncated: there is less of it than it says")
    if not frames:
        raise Unusable("there is nothing in it to be heard: 0 samples")


def _is_truncated(opened: Any, frames: int, content: bytes) -> bool:
    """Return whether a file lacks its end, as far as its format says how long it is."""
    if opened.format == "OGG":
        return not _has_last_page(content)
    if opened.format == "MP3":
        is_said = any(tag in content[:HEADER] for tag in (b"Xing", b"Info"))
        return is_said and frames < opened.frames
    if (fewer := FEWER.search(opened.extra_info)) is not None:
        said, there = map(int, fewer.groups())
        return there < said and said not in UNKNOWN
    return bool(frames < opened.frames)


def _has_last_page(content: bytes) -> bool:
    """Return whether an OGG ends with a whole page that says that it is the last one (RFC 3533)."""
    page = content[content.rfind(b"OggS") :]
    if len(page) < PAGE or not page[FLAGS] & LAST:
        return False
    segments = page[PAGE - 1]
    return len(page) >= PAGE + segments + sum(page[PAGE : PAGE + segments])
