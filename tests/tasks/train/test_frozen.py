"""A frozen encoder is asked once: the same losses as when it is asked in each epoch, and the same bits whenever it was asked."""

import json
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from safetensors.torch import load_file

from tasks.ingest import ingest
from tasks.problems.automatic_speech_recognition import AutomaticSpeechRecognition
from tasks.shared import base_models
from tasks.shared.errors import InputError
from tasks.shared.files import digests
from tasks.shared.params import Model, Params
from tasks.shared.paths import Paths
from tasks.split import split
from tasks.tokenize import tokenize
from tasks.train import frozen, train
from tests.support.project import ROOT
from tests.support.six_stages import through
from tests.support.sounds import sound

WHISPER: dict[str, Any] = {
    "type": "whisper",
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "max_target_positions": 40,
}
KEPT = "what the frozen encoder answers is kept"
ASR = "automatic_speech_recognition"


@dataclass
class Made:
    """Rows as model inputs, in a folder."""

    folder: Path
    settings: dict[str, Any]

    def train(
        self,
        name: str,
        *,
        sizes: dict[str, Any] | None = None,
        own: dict[str, Any] | None = None,
        kind: type[AutomaticSpeechRecognition] = AutomaticSpeechRecognition,
        **changes: Any,
    ) -> Paths:
        """Train in a folder of this name, and return what is there."""
        root = self.folder / name
        if not root.exists():
            shutil.copytree(self.folder / "rows", root)
        scratch = {"name": None, "revision": None, "from_scratch": {**WHISPER, **(sizes or {})}}
        together = {
            ASR: {**self.settings[ASR], **(own or {})},
            "train": {**self.settings["train"], **changes},
        }
        params = Params.model_validate({**self.settings, **together, "model": scratch})
        model = base_models.resolve(Model(**scratch))
        train(params.train, base_models.fetch(model), kind(params.own), Paths(root), root / "resume")
        return Paths(root)


class Interrupted(AutomaticSpeechRecognition):
    """Asks training to end, as whoever ends a run does, with its sixth batch: within the second epoch."""

    seen = 0

    def collator(self, processor: Any) -> Any:
        collate = super().collator(processor)

        def counted(rows: list[dict[str, Any]]) -> Any:
            self.seen += "encoder_outputs" in rows[0]
            if self.seen == 6:
                signal.raise_signal(signal.SIGTERM)
            return collate(rows)

        return counted


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Some sounds and texts, encoded for a small Whisper."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "pins.yaml", tmp_path)
    root = tmp_path / "rows"
    root.mkdir()
    for number in range(24):
        (root / f"{number}.wav").write_bytes(sound(number))
    rows = [{"audio": f"{number}.wav", "text": ["low", "middle", "high"][number % 3]} for number in range(24)]
    (root / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    settings: dict[str, Any] = {
        "problem": ASR,
        ASR: {"max_seconds": 1.0, "max_new_tokens": 12},
        "data": {"path": str(root), "files": "rows.jsonl"},
        "model": {"name": None, "revision": None, "from_scratch": WHISPER},
        "split": {"validation_share": 0.3, "test_share": 0.3},
        "train": {
            "freeze": ["model.encoder"],
            "num_train_epochs": 3.0,
            "per_device_train_batch_size": 4,
            "logging_steps": 1,
            "learning_rate": 0.01,
            "precision": "fp32",
        },
    }
    params = Params.model_validate(settings)
    problem, paths = AutomaticSpeechRecognition(params.own), Paths(root)
    ingest(params.data, params.ingest, problem, paths)
    split(params.split, problem.columns, paths)
    tokenize(params.tokenize, base_models.resolve(params.model), problem, paths)
    return Made(tmp_path, settings)


def losses(paths: Paths) -> list[float]:
    """Return all losses, of training and of validation."""
    files = ("train_loss", "validation_loss")
    tables = [pl.read_csv(paths.curves / f"{name}.csv") for name in files]
    return [*tables[0]["loss"], *tables[1]["loss"]]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_losses_are_those_of_an_encoder_that_is_asked_in_each_epoch(
    precision: str, made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = made.train("kept", precision=precision)
    assert KEPT in capsys.readouterr().out
    asked = made.train("asked", precision=precision, encoder_cache="off")
    assert "encoder" not in capsys.readouterr().out.replace("metrics", "")
    near = 1e-5 if precision == "fp32" else 0.02
    assert losses(kept) == pytest.approx(losses(asked), rel=near)
    assert len(losses(kept)) > 6
    ours, theirs = (load_file(paths.checkpoint / "model.safetensors") for paths in (kept, asked))
    encoder = [name for name in ours if name.startswith("model.encoder.")]
    assert encoder
    assert all(ours[name].equal(theirs[name]) for name in encoder)


@pytest.mark.slow
def test_the_same_bits_come_of_what_is_kept_and_of_what_is_computed_again(
    made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    first = digests(made.train("first").checkpoint)
    (folder,) = [path for path in frozen.ENCODED.iterdir() if path.is_dir()]
    assert sorted(path.name for path in folder.iterdir()) == ["train", "validation"]
    before = (folder / "train" / frozen.OUTPUTS).stat().st_mtime_ns
    assert digests(made.train("second").checkpoint) == first
    assert (folder / "train" / frozen.OUTPUTS).stat().st_mtime_ns == before
    # another training of the same encoder takes it too
    made.train("another", learning_rate=0.001)
    assert (folder / "train" / frozen.OUTPUTS).stat().st_mtime_ns == before
    shutil.rmtree(folder)
    assert digests(made.train("third").checkpoint) == first
    # damage, and a kill while it was written
    with (folder / "train" / frozen.OUTPUTS).open("r+b") as file:
        file.write(b"damage")
    (folder / "validation" / frozen.COMPLETE).unlink()
    assert digests(made.train("fourth").checkpoint) == first
    assert capsys.readouterr().out.count(KEPT) == 5


@pytest.mark.slow
def test_a_training_that_was_interrupted_ends_in_the_same_bits(
    made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = made.train("whole")
    with pytest.raises(SystemExit):
        made.train("ended", kind=Interrupted)
    assert list((made.folder / "ended/resume").glob("checkpoint-*"))
    shutil.rmtree(frozen.ENCODED)
    resumed = made.train("ended")
    assert "going on from checkpoint-" in capsys.readouterr().out
    for part in ("checkpoint", "curves"):
        assert digests(getattr(resumed, part)) == digests(getattr(whole, part))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sizes": {"dropout": 0.1}}, "it has dropout in training"),
        pytest.param(
            {"sizes": {"encoder_layerdrop": 0.1}}, "it has layerdrop in training", marks=pytest.mark.slow
        ),
        pytest.param(
            {"own": {"masks": {"time": 0.1}}},
            "train rows are seen otherwise in each epoch",
            marks=pytest.mark.slow,
        ),
        pytest.param({"num_train_epochs": 1.0}, "it reads them once", marks=pytest.mark.slow),
        ({"freeze": ["model.encoder.layers"]}, ""),
        pytest.param({"freeze": []}, "", marks=pytest.mark.slow),
    ],
)
def test_an_encoder_that_may_answer_otherwise_is_asked_each_time(
    changes: dict[str, Any], said: str, made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    made.train("asked", **changes)
    output = capsys.readouterr().out
    assert KEPT not in output
    assert ("the frozen encoder reads each row" in output) == bool(said)
    assert said in output
    assert not frozen.ENCODED.exists()


@pytest.mark.slow
def test_another_encoder_takes_the_place_of_what_was_kept(made: Made) -> None:
    made.train("one")
    made.train("two", seed=7)
    (folder,) = [path for path in frozen.ENCODED.iterdir() if path.is_dir()]
    assert {path.name for path in frozen.ENCODED.iterdir()} <= {
        folder.name,
        f"{folder.name}.lock",
        f"{folder.name}.lock.pid",
    }


@pytest.mark.slow
def test_what_another_attention_answers_is_not_taken(made: Made) -> None:
    kept = set()
    for wanted in ("sdpa", "eager"):
        made.train(wanted, attn_implementation=wanted, cpu_shortcuts="off")
        kept |= {path.name for path in frozen.ENCODED.iterdir() if path.is_dir()}
    assert len(kept) == 2


def test_a_disk_without_room_is_a_sentence(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(
        InputError, match=r"0 MB of the disk are free; free some, or set train\.encoder_cache off"
    ):
        made.train("full")


@pytest.mark.slow
def test_an_encoder_that_reads_texts_of_any_length_is_asked_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "pins.yaml", tmp_path)
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    through(
        tmp_path,
        {"name": None, "revision": None, "from_scratch": {"type": "t5", **sizes}},
        [{"text": f"say {number}", "target": f"{number} said"} for number in range(24)],
        problem="text2text_generation",
        text2text_generation={"max_new_tokens": 4},
        tokenize={"train": {"kind": "byte"}},
        train={"freeze": ["encoder", "shared"], "num_train_epochs": 2.0},
    )
    assert "it more than one input, or inputs of any length" in capsys.readouterr().out
    assert not frozen.ENCODED.exists()
