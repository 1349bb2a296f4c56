"""Seconds of an epoch of other problems: our train stage beside a plain Trainer script (benchmarks/run_*.py).

Both train the same model on the same rows of the data set that a params file in examples/ names, with its
recipe and seed, each in a process of its own, in turn; what is timed is the training loop alone. The plain
script has its best flags: rows of like length together, padded to the longest of the batch; text that goes on
is cut into blocks, which need no padding.
"""

import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.examples import params_of, prepare
from benchmarks.measure import ROOT, Options, Table, compare, in_turn
from benchmarks.training import recipe, results_of
from tasks.shared import base_models
from tasks.shared.answers import answers
from tasks.shared.errors import InputError
from tasks.shared.params import Params
from tasks.shared.params_file import save
from tasks.shared.paths import Paths

REPEAT = 1
OURS = "ours"
GROUPED = {"train_sampling_strategy": "group_by_length"}


def measure(options: Options) -> Iterator[Table]:
    """Yield a table for each problem; those of a data set that is not there say so."""
    for name, (script, package) in SCRIPTS.items():
        if options.examples and name not in options.examples:
            continue
        if package and not find_spec(package):
            yield Table(f"{name}: left out", ("why",), [[f"{package} is not installed"]])
            continue
        try:
            params = params_of(ROOT / "examples" / f"{name}.yaml", options.sets)
        except InputError as error:
            yield Table(f"{name}: left out", ("why",), [[str(error)]])
            continue
        with tempfile.TemporaryDirectory(prefix="retrain-bench-") as folder:
            yield _beside(name, script, params, Path(folder), options.repeat or REPEAT)


def _beside(name: str, script: str, params: Params, here: Path, repeat: int) -> Table:
    """Return how long an epoch takes."""
    # nothing but the training loop
    its = {"num_train_epochs": 1.0, "eval_strategy": "steps", "eval_steps": 10**9}
    params = params.model_copy(update={"train": params.train.model_copy(update=its)})
    paths = prepare(params, here)
    save(params, here / "params.yaml")
    flags = FLAGS[script](params, paths, here / "train.jsonl")
    words = [word for flag, value in (recipe(params) | flags).items() for word in (f"--{flag}", str(value))]
    programs: dict[str, Callable[[], float]] = {
        OURS: lambda: float(
            results_of(["benchmarks.training", str(here / "params.yaml")], here, accuracy=False)["seconds"]
        ),
        f"plain: {script}.py": lambda: float(
            results_of([f"benchmarks.{script}", *words], here, accuracy=False)["seconds"]
        ),
    }
    rows = pl.scan_parquet(paths.split("train")).select(pl.len()).collect().item()
    title = f"Training {params.problem} on {name} ({rows} rows), one epoch"
    return compare(title, "s", in_turn(programs, repeat), OURS, {f"plain: {script}.py": "<= 1.00"})


def _ner(params: Params, paths: Paths, file: Path) -> dict[str, Any]:
    pl.read_parquet(paths.split("train")).select("tokens", "tags").write_ndjson(file)
    given = {
        "model_name_or_path": base_models.fetch(params.model),
        "max_seq_length": params.tokenize.max_length,
    }
    return {"train_file": file, **given, **GROUPED}


def _qa(params: Params, paths: Paths, file: Path) -> dict[str, Any]:
    rows = pl.read_parquet(paths.split("train")).select("question", "context", "answers").to_dicts()
    for row in rows:
        first = answers(row.pop("answers"))[0]
        row |= {"start": first.start, "end": first.start + len(first.text)}
    pl.DataFrame(rows).write_ndjson(file)
    given = {
        "model_name_or_path": base_models.fetch(params.model),
        "max_seq_length": params.tokenize.max_length,
    }
    return {
        "train_file": file,
        **given,
        "doc_stride": params.own.model_dump()["doc_stride"],
        "pad_to_max_length": False,
        **GROUPED,
    }


def _clm(params: Params, paths: Paths, file: Path) -> dict[str, Any]:
    pl.read_parquet(paths.split("train")).select("text").write_ndjson(file)
    folder = _config(params, paths, file.with_name("config"))
    return {"train_file": file, "config_name": folder, "block_size": params.tokenize.max_length}


def _image(params: Params, paths: Paths, file: Path) -> dict[str, Any]:
    media = f"{paths.media.resolve()}/"
    rows = pl.read_parquet(paths.split("train")).select(pl.lit(media) + pl.col("image"), "label")
    rows.rename({"literal": "image"}).write_ndjson(file)
    return {"train_file": file, "config_name": _config(params, paths, file.with_name("config"))}


def _sounds(params: Params, paths: Paths, file: Path) -> dict[str, Any]:
    from tasks import problems

    rows = problems.load(params.problem, params.own).comparable(pl.read_parquet(paths.split("train")))
    media = f"{paths.media.resolve()}/"
    target = "label" if "label" in rows.columns else "text"
    rows.select(pl.concat_str(pl.lit(media), "audio").alias("audio"), target).write_ndjson(file)
    return {"train_file": file, "config_name": _config(params, paths, file.with_name("config")), **GROUPED}


def _vqa(params: Params, paths: Paths, file: Path) -> dict[str, Any]:
    rows, media = pl.read_parquet(paths.split("train")), f"{paths.media.resolve()}/"
    text, answer = ("question", "label") if "label" in rows.columns else ("text", "answer")
    picture = pl.concat_str(pl.lit(media), "image").alias("image")
    rows.select(picture, text=text, answer=answer).write_ndjson(file)
    return {"train_file": file, "config_name": _config(params, paths, file.with_name("config"))}


def _config(params: Params, paths: Paths, folder: Path) -> Path:
    """Save the config of a model from scratch, and what makes its inputs."""
    from tasks import problems
    from tasks.shared.files import read_json

    problem = problems.load(params.problem, params.own)
    processor = problem.load_processor(paths.tokens / "tokenizer")
    model, _ = problem.model(
        base_models.fetch(params.model), processor, read_json(paths.tokens / "targets.json")
    )
    # the class is a part of it, which saving the model would write
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _sft(params: Params, paths: Paths, file: Path) -> dict[str, Any]:
    rows = pl.read_parquet(paths.split("train")).select("prompt", "answer").to_dicts()
    turns = (("prompt", "user", "prompt"), ("completion", "assistant", "answer"))
    messages = [
        {name: [{"role": role, "content": row[column]}] for name, role, column in turns} for row in rows
    ]
    pl.DataFrame(messages).write_ndjson(file)
    given = {"model_name_or_path": base_models.fetch(params.model), "max_length": params.tokenize.max_length}
    faster = {"gradient_checkpointing": False, "bf16": False}
    return {"train_file": file, **given, **faster, **GROUPED}


# and the package that a script needs beyond ours
SCRIPTS = {
    "wnut17": ("run_ner", ""),
    "xquad_en": ("run_qa", ""),
    "tinyshakespeare": ("run_clm", ""),
    "easy_vqa_shape": ("run_image", ""),
    "fsdd": ("run_sounds", "soundfile"),
    "fsdd_ctc": ("run_sounds", "soundfile"),
    "easy_vqa": ("run_vqa", ""),
    "easy_vqa_answers": ("run_vqa", ""),
    "gsm8k": ("run_sft", "trl"),
}
FLAGS: dict[str, Callable[[Params, Paths, Path], dict[str, Any]]] = {
    "run_ner": _ner,
    "run_qa": _qa,
    "run_clm": _clm,
    "run_image": _image,
    "run_sounds": _sounds,
    "run_vqa": _vqa,
    "run_sft": _sft,
}
