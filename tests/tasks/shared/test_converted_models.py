"""Base models in other formats: made once, and anew when what makes them has changed."""

from pathlib import Path

import pytest

from tasks.shared import converted_models


def test_a_folder_is_made_anew_when_its_code_or_a_library_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made: list[Path] = []

    def write(out: Path) -> str:
        made.append(out)
        return "converted"

    def once() -> Path:
        return converted_models.once(Path("some.gguf"), "gguf-1", write, {"sha256": "1"}, [str(code)])

    code = tmp_path / "converter.py"
    code.write_text("old")
    first = once()
    assert once() == first
    assert converted_models.origin(first) == {"base": "converted"}
    code.write_text("new")
    second = once()
    monkeypatch.setattr(converted_models, "LIBRARIES", ("numpy",))
    third = once()
    assert len({first, second, third}) == len(made) == 3
