"""Files of texts that problems read themselves are decoded as tables are: marks dropped, encodings said."""

from pathlib import Path
from typing import Any

import pytest

from tasks import problems
from tasks.shared.errors import InputError
from tasks.shared.params import Data, Params

FILES: dict[str, tuple[str, dict[str, Any], str]] = {
    "token_classification": ("a.conll", {}, "Zoë\tB-person\n\n"),
    "fill_mask": ("a.txt", {}, "Zoë is here.\n\nAnd gone."),
    "text_generation": ("a.txt", {"rows": "text"}, "Zoë is here.\n\nAnd gone."),
    "text2text_generation": ("a.fra-eng.fra", {}, "Zoë est là.\n"),
}


def rows(name: str, folder: Path, encoding: str, written: str | None = None) -> list[dict[str, Any]]:
    """Return what a problem reads of its file."""
    file, own, text = FILES[name]
    for its in (file, file.removesuffix("fra") + "eng"):
        (folder / its).write_text(text, encoding=written or encoding)
    params = Params.model_validate({"problem": name, name: own})
    found = problems.load(name, params.own).read(folder / file, Data(path=str(folder), encoding=encoding))
    assert found is not None
    return list(found)


@pytest.mark.parametrize("name", FILES)
def test_a_mark_at_the_begin_is_no_part_of_the_text(name: str, tmp_path: Path) -> None:
    assert rows(name, tmp_path, "utf-8", "utf-8-sig") == rows(name, tmp_path, "utf-8")
    assert rows(name, tmp_path, "cp1252") == rows(name, tmp_path, "utf-8")


@pytest.mark.parametrize("name", FILES)
def test_another_encoding_is_said_with_the_line_and_what_to_set(name: str, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=rf"^{FILES[name][0]}: line 1 is not valid utf-8 .* set data\.encoding"
    ):
        rows(name, tmp_path, "utf-8", "cp1252")
    with pytest.raises(InputError, match=r"^data\.encoding: 'utf-9' is not an encoding Python knows"):
        rows(name, tmp_path, "utf-9", "utf-8")
