"""Pictures that a package is asked about: they are seen as ingest keeps those that it was trained on."""

import base64
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from tasks.problems.common import images
from tasks.problems.image_text_to_text import serve as captions
from tasks.problems.visual_question_answering import serve as answers
from tasks.shared.params import Ingest
from tests.support.pictures import saved

PLAIN = images.noise(20, 12)
# more and more transparent from left to right
VEILED = PLAIN.copy()
VEILED.putalpha(Image.fromarray(np.tile(np.linspace(0, 255, 20).astype(np.uint8), (12, 1))))
SIDEWAYS = PLAIN.getexif()
SIDEWAYS[0x0112] = 6
DEEP = Image.fromarray((np.arange(240, dtype=np.uint16) * 273).reshape(12, 20))
FILES = {
    "animated.gif": saved(PLAIN, "GIF", save_all=True, append_images=[PLAIN.rotate(180)]),
    "bits.png": saved(PLAIN.convert("1")),
    "cmyk.jpg": saved(PLAIN.convert("CMYK"), "JPEG"),
    "colour_of_nothing.png": saved(PLAIN, transparency=PLAIN.getpixel((3, 3))),
    "deep.png": saved(DEEP),
    "grey_and_alpha.png": saved(VEILED.convert("LA")),
    "palette.png": saved(VEILED.quantize(16)),
    "sideways.jpg": saved(PLAIN, "JPEG", exif=SIDEWAYS),
    "veiled.png": saved(VEILED),
    "veiled.webp": saved(VEILED, "WEBP", lossless=True),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("serve", [answers, captions], ids=["answers", "captions"])
def test_a_served_picture_is_seen_as_it_would_be_trained_on(
    serve: ModuleType, name: str, tmp_path: Path
) -> None:
    file, kept = tmp_path / name, tmp_path / "kept"
    file.write_bytes(FILES[name])
    kept.write_bytes(images.keep(FILES[name], Ingest()).content)
    wanted = np.asarray(images.load(kept))
    assert wanted.std() > 0
    url = "data:image/png;base64," + base64.b64encode(FILES[name]).decode()
    for given in (str(file), file, url, Image.open(file)):
        assert np.array_equal(np.asarray(serve.picture(given)), wanted)
