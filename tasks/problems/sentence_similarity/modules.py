"""What tells sentence-transformers how to make a vector: the mean of the tokens', of length 1."""

import json
from pathlib import Path

from tasks.shared.files import read_json, write_json

MODULES = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
# as types of models call the length of a token's vector
WIDTHS = ("hidden_size", "d_model", "n_embd", "dim")


def write(folder: Path) -> None:
    """Write `modules.json` and the settings of its modules beside a model."""
    settings = read_json(folder / "config.json")
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{name}"}
        for number, (path, name) in enumerate(MODULES.items())
    ]
    (folder / "modules.json").write_text(json.dumps(modules, indent=2) + "\n", encoding="utf-8")
    pooling = {
        "word_embedding_dimension": next(settings[name] for name in WIDTHS if name in settings),
        "pooling_mode_mean_tokens": True,
        "pooling_mode_cls_token": False,
    }
    write_json(folder / "1_Pooling/config.json", pooling)
