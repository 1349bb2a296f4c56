"""What the stages rely on in every problem: whatever stands in tasks/problems is tried here, without a line of its own."""

import json
import shutil
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import polars as pl
import pytest
from datasets import Dataset

from tasks import problems
from tasks.evaluate import baselines, evaluate, predict
from tasks.ingest import ingest
from tasks.judge import judge
from tasks.package import package
from tasks.problems import Prediction, Problem
from tasks.problems.common import predicting
from tasks.problems.metric import as_metric
from tasks.shared import base_models, champions, columns, measured, predictions
from tasks.shared.bootstrap import scores
from tasks.shared.engine import LOCAL
from tasks.shared.errors import InputError
from tasks.shared.files import digests, read_json, rounded
from tasks.shared.params import Data, Ingest, Model, Params, Train, problem_names
from tasks.shared.paths import Paths
from tasks.shared.statistics import METRICS, Statistics, values
from tasks.shared.values import as_text
from tasks.shared.verdict import best_baseline
from tasks.split import split
from tasks.tokenize import tokenize
from tasks.train import train
from tests.support.apart import Apart
from tests.support.families import LIKE_BERT
from tests.support.rows import FILES, kept, write

CHANGES: dict[str, dict[str, Any]] = {
    "split": {"validation_share": 0.3, "test_share": 0.3},
    "train": {"num_train_epochs": 1.0, "per_device_train_batch_size": 8},
    "evaluate": {"n_resamples": 100, "batch_size": 7},
}
# text goes on with a model that sees nothing of what comes after
SMALL_SOUNDS = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "conv_depthwise_kernel_size": 3,
    "classifier_proj_size": 16,
}
FROM_SCRATCH = {
    "audio_classification": {"type": "wav2vec2-bert", **SMALL_SOUNDS},
    "automatic_speech_recognition": {"type": "wav2vec2-bert", **SMALL_SOUNDS},
    "text_generation": {"type": "llama", **LIKE_BERT},
    "image_classification": {"type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 8], "depths": [1, 1]},
    "image_text_to_text": {"type": "git", **LIKE_BERT},
    "visual_question_answering": {"type": "vilt", **LIKE_BERT, "patch_size": 8},
}
# other kinds of model that a problem trains
OTHERS: dict[str, list[dict[str, Any]]] = {
    "automatic_speech_recognition": [
        {
            "type": "whisper",
            "d_model": 16,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 16,
            "decoder_ffn_dim": 16,
            "max_target_positions": 64,
        }
    ]
}
# what is generated says nothing, and takes long
SHORT: dict[str, dict[str, Any]] = {
    "automatic_speech_recognition": {"max_new_tokens": 48, "max_seconds": 1.0},
    "image_classification": {"image_size": 24},
    "visual_question_answering": {"image_size": 24},
    "image_text_to_text": {"image_size": 24, "patch_size": 8, "max_new_tokens": 8},
    "text2text_generation": {"max_new_tokens": 8},
    "text_generation": {"generation": {"max_new_tokens": 8}},
}


@dataclass
class Made:
    """What the stages have made of a problem's rows."""

    problem: Problem
    params: Params
    paths: Paths

    def rows(self, name: str) -> pl.DataFrame:
        """Return the rows of a split."""
        return pl.read_parquet(self.paths.split(name))

    @property
    def targets(self) -> dict[str, Any]:
        """What was learned of the train split's targets."""
        return dict(read_json(self.paths.tokens / "targets.json"))

    @property
    def predictions(self) -> pl.DataFrame:
        """What was predicted for the test split."""
        return predictions.read(self.paths.plots / "predictions.csv", self.problem.columns)


def ways() -> list[Any]:
    """Return every problem, and what it is told for each kind of rows and model that it takes; the first is quick."""
    found = []
    for name in problem_names():
        field = type(Params.model_validate({"problem": name}).own).model_fields.get("rows")
        kinds: list[dict[str, str]] = (
            [{"rows": rows} for rows in get_args(field.annotation)] if field else [{}]
        )
        for number, own in enumerate(kinds):
            marks = pytest.mark.slow if number else ()
            way = (name, own, FROM_SCRATCH.get(name, {}))
            found.append(pytest.param(way, id="-".join([name, *own.values()]), marks=marks))
        for scratch in OTHERS.get(name, []):
            way = (name, {}, scratch)
            found.append(pytest.param(way, id=f"{name}-{scratch['type']}", marks=pytest.mark.slow))
    return found


def made(name: str, own: dict[str, Any], scratch: dict[str, Any], folder: Path, base: Path) -> Made:
    """Run all stages in a folder, in this process."""
    paths, its = Paths(folder), {"problem": name, name: SHORT.get(name, {}) | own}
    columns_ = problems.load(name, Params.model_validate(its).own).columns
    (folder / "raw").mkdir()
    write(folder / "raw/rows.jsonl", columns_)
    data = {"path": str(folder / "raw")}
    model = base_models.resolve(Model(name=str(base), from_scratch=scratch)).model_dump()
    slices = {"slices": ["source_file", *columns.targets(columns_)]}
    changes = CHANGES | {"evaluate": CHANGES["evaluate"] | slices}
    params = Params.model_validate({**its, "data": data, "model": model, **changes})
    problem = problems.load(name, params.own)
    ingest(params.data, params.ingest, problem, paths)
    split(params.split, problem.columns, paths)
    tokenize(params.tokenize, params.model, problem, paths)
    train(params.train, base_models.fetch(params.model), problem, paths, folder / "resume")
    evaluate(params.evaluate, problem, paths)
    package(params, problem, paths)
    return Made(problem, params, paths)


@pytest.mark.parametrize("name", problem_names())
def test_a_problem_of_which_nothing_is_said_is_as_its_defaults_say(name: str) -> None:
    kind: type[Any] = type(problems.load(name))
    own = Params.model_validate({"problem": name}).own
    assert own is not None
    assert kind().params.model_dump() == own.model_dump()


@pytest.mark.parametrize("name", problem_names())
def test_label_smoothing_is_refused_where_labels_are_not_one_per_row_or_token(name: str) -> None:
    its = problems.load(name, Params.model_validate({"problem": name}).own)
    several = {
        "text_multi_label_classification",
        "text_regression",
        "question_answering",
        "image_text_to_text",
    }
    several |= {"text2text_generation", "sentence_similarity", "automatic_speech_recognition"}
    assert its.smooths == (name not in several)
    if not its.smooths:
        with pytest.raises(
            InputError, match="label_smoothing_factor is for one label per row or token; set it to 0"
        ):
            its.loss(pl.DataFrame(), {"labels": []}, Train(label_smoothing_factor=0.1))


@pytest.fixture(scope="module", params=ways())
def it(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Made:
    """The problem, with all that its stages have made."""
    name, own, scratch = request.param
    return made(name, own, scratch, tmp_path_factory.mktemp(name), tiny_model)


def test_columns_have_an_input_and_known_kinds(it: Made) -> None:
    assert columns.inputs(it.problem.columns)
    assert {column.kind for column in it.problem.columns.values()} <= columns.KINDS.keys()


def test_example_rows_are_taken_in_and_hold_nothing_but_columns(it: Made, tmp_path: Path) -> None:
    assert it.problem.examples
    for number, row in enumerate(it.problem.examples):
        assert {*columns.present(it.problem.columns, ())} <= row.keys() <= it.problem.columns.keys()
        file = tmp_path / f"{number}.jsonl"
        file.write_text(json.dumps(row), encoding="utf-8")
        if (media := columns.media(it.problem.columns)) is not None:
            (tmp_path / row[media]).parent.mkdir(exist_ok=True)
            (tmp_path / row[media]).write_bytes(FILES[it.problem.columns[media].kind](number))
        data = Data(path=str(tmp_path), files=file.name, columns={name: name for name in row})
        ingest(data, Ingest(max_rejected=0), it.problem, Paths(tmp_path / str(number)))
        assert pl.read_parquet(tmp_path / str(number) / "data/ingested/rows.parquet").height == 1


@pytest.mark.slow
def test_shards_that_are_computed_elsewhere_make_the_same(it: Made, tmp_path: Path) -> None:
    shutil.copytree(it.paths.tokens.parents[1], tmp_path / "elsewhere")
    with chdir(tmp_path / "elsewhere"):
        paths, problem = Paths(), problems.load(it.params.problem, it.params.own)
        made_here = [digests(folder) for folder in (paths.ingested, paths.media, paths.tokens)]
        for folder in (paths.ingested, paths.media, paths.tokens):
            shutil.rmtree(folder, ignore_errors=True)
        data = it.params.data.model_copy(update={"path": "raw"})
        ingest(data, it.params.ingest, problem, paths, Apart())
        tokenize(it.params.tokenize, it.params.model, problem, paths, Apart())
        assert [digests(folder) for folder in (paths.ingested, paths.media, paths.tokens)] == made_here
        found = [predict(problem, it.targets, paths, 7, engine) for engine in (LOCAL, Apart())]
        assert found[0].equals(found[1])


def test_a_problem_that_reads_formats_of_its_own_says_which(it: Made) -> None:
    assert (type(it.problem).read is not Problem.read) == bool(it.problem.formats)


def test_every_row_is_taken_in_as_it_was_written(it: Made) -> None:
    rows = pl.read_parquet(it.paths.ingested / "rows.parquet")
    its = columns.present(it.problem.columns, ())
    assert rows.select(*its).to_dicts() == kept(it.problem.columns)
    assert rows["id"].n_unique() == rows.height


def test_values_written_as_text_are_read_again_as_they_were(it: Made) -> None:
    for name, column in columns.present(it.problem.columns, ()).items():
        values_ = it.rows("train")[name]
        assert columns.kind(column).parse(as_text(values_)).equals(values_)


def test_targets_are_json_and_do_not_depend_on_the_order_of_rows(it: Made) -> None:
    train_rows = it.rows("train").select(columns.targets(it.problem.columns))
    learned = it.problem.learn_targets(train_rows)
    assert learned == it.targets == json.loads(json.dumps(learned))
    assert it.problem.learn_targets(train_rows.reverse()) == learned


def test_rows_are_encoded_in_order_and_each_by_itself(it: Made) -> None:
    processor, rows = it.problem.load_processor(it.paths.tokens / "tokenizer"), it.rows("validation")

    def encoded(some: pl.DataFrame) -> list[dict[str, Any]]:
        found = it.problem.encode(processor, some, it.targets, it.params.tokenize)
        return [row for batch in found for row in batch.inputs.to_pylist()]

    together = encoded(rows)
    assert {"length", *it.problem.learned} <= together[0].keys()
    of = [row.get("row", number) for number, row in enumerate(together)]
    if isinstance(of[0], list):
        # rows that share inputs are put together as they fit
        assert {number for some in of for number in some} == {*range(rows.height)}
        return
    assert [*dict.fromkeys(of)] == [*range(rows.height)]
    alone = []
    for number in range(rows.height):
        alone += [
            row | {"row": number} if "row" in row else row for row in encoded(rows[number : number + 1])
        ]
    assert together == alone


def test_a_row_is_predicted_alike_alone_and_beside_others_and_from_logits(it: Made) -> None:
    targets, processor = it.targets, it.problem.load_processor(it.paths.checkpoint)
    model = it.problem.model(it.paths.checkpoint, processor, targets)[0].eval()
    collate = it.problem.collator(processor)
    data = Dataset.from_file(str(it.paths.tokens / "test.arrow"))
    rows = data.select_columns(predicting.given(it.problem, data.column_names)).to_list()

    def predicted(some: list[dict[str, Any]], *, from_logits: bool = False) -> list[Prediction]:
        inputs = collate(some)
        logits = None
        if from_logits:
            answered = model(**predicting.without_carried(it.problem, inputs))
            logits = tuple(value for name, value in answered.items() if name != "loss")
        return it.problem.predict(model, processor, inputs, targets, logits)

    def by_row(found: list[Prediction]) -> pl.DataFrame:
        return predicting.by_row(it.problem, found, data, it.rows("test"))

    import torch

    with torch.inference_mode():
        together = by_row(predicted(rows))
        alone = by_row([prediction for row in rows for prediction in predicted([row])])
        if it.problem.validation_rows is None:
            assert by_row(predicted(rows, from_logits=True)).equals(together)
    names = columns.targets(it.problem.columns)
    if "predicted" in together.columns:
        distance = columns.kind(it.problem.columns[names[0]]).distance(
            alone["predicted"], together["predicted"]
        )
        # None where text is generated for the first rows alone, once all else is predicted
        assert (distance.max() or 0) == pytest.approx(0, abs=1e-4)
    for number in together.select(pl.selectors.float()):
        assert number.to_list() == pytest.approx(alone[number.name].to_list(), rel=1e-4, abs=1e-4)


def test_what_is_predicted_stands_in_the_files_in_the_order_of_the_rows(it: Made) -> None:
    test = it.rows("test")
    assert it.predictions["id"].equals(test["id"])
    kept = measured.read(it.paths.plots / "statistics.arrow")
    assert kept.ids.equals(test["id"])
    found = read_json(it.paths.metric("evaluate"))
    again = scores(kept.statistics, it.params.evaluate)
    assert {name: found[name] for name in kept.statistics} == pytest.approx(
        {name: again[name] for name in kept.statistics}, rel=1e-5
    )


def test_the_headline_is_measured_and_best_where_all_is_right(it: Made) -> None:
    test, names = it.rows("test"), columns.targets(it.problem.columns)
    found = read_json(it.paths.metric("evaluate"))
    headline = it.problem.headline
    perfect: Statistics = measured.read(it.paths.plots / "statistics.arrow").statistics
    # where there is nothing to say but how likely a text is, nothing is all right
    if names:
        perfect = it.problem.measure(pl.DataFrame({"predicted": test[names[0]]}), test, it.targets)
    assert perfect.keys() <= {*it.problem.metrics}
    assert {name for name in found if name in it.problem.metrics} >= perfect.keys()
    # of what is said alone, without its probability, a headline in nats knows nothing
    measured_ = headline if headline in perfect else next(iter(perfect))
    higher = METRICS[perfect[measured_].metric].higher_is_better
    assert found["headline"]["name"] == headline
    assert measured_ != headline or found["headline"]["higher_is_better"] == higher
    for some in (found, *found["baselines"].values()):
        if names and measured_ in some:
            lead = values(perfect)[measured_] - some[measured_]
            assert lead >= 0 if higher else lead <= 0
    assert headline in found["interval"]
    assert ("loss" if it.problem.validation_rows == 0 else headline) in read_json(it.paths.metric("train"))[
        "validation"
    ]


def test_baselines_predict_every_row(it: Made) -> None:
    found = baselines(it.problem, it.rows("train"), it.rows("test"), it.targets, it.paths)
    assert found
    assert {frame.height for frame in found.values()} == {it.rows("test").height}
    assert found.keys() == read_json(it.paths.metric("evaluate"))["baselines"].keys()


def test_a_metric_of_evaluate_gives_the_figures_of_the_pipeline(it: Made) -> None:
    size, names = it.params.evaluate.batch_size, columns.targets(it.problem.columns)
    rows = it.rows("test").select(*columns.present(it.problem.columns, ()))
    predicted = predict(it.problem, it.targets, it.paths, size)
    metric = as_metric(it.problem, it.paths)
    for some, given in zip(predicted.iter_slices(5), rows.iter_slices(5), strict=True):
        metric.add_batch(predictions=some.to_dicts(), references=given.to_dicts())
    found = read_json(it.paths.metric("evaluate"))
    whole = rounded(metric.compute())
    assert whole == {name: found[name] for name in it.problem.metrics if name in found}
    # where there is nothing to say but how likely a text is, nothing is plain
    if names:
        plain = rounded(
            metric.compute(predictions=predicted["predicted"].to_list(), references=rows[names[0]].to_list())
        )
        assert plain
        assert plain.items() <= whole.items()


def test_slices_are_measured_by_themselves(it: Made) -> None:
    found = read_json(it.paths.metric("evaluate"))
    whole = next(row for row in found["slices"] if row["slice"] == "source_file")
    assert (whole["value"], whole["rows"]) == ("rows.jsonl", it.rows("test").height)
    assert whole[it.problem.headline] == pytest.approx(found[it.problem.headline])


def test_curves_and_pictures_are_there_for_dvc_to_show(it: Made) -> None:
    curves = {file.stem: pl.read_csv(file) for file in it.paths.curves.iterdir()}
    assert {"train_loss", "validation_loss"} <= curves.keys()
    assert it.problem.validation_rows == 0 or f"validation_{it.problem.headline}" in curves
    assert all(curve.columns[0] == "step" for curve in curves.values())
    pictures = [file.name for file in (it.paths.plots / "figures").iterdir()]
    assert "learning_curve.png" in pictures
    assert all(name.endswith(".png") for name in pictures)


def test_the_package_says_what_it_is_and_the_card_how_to_call_it(it: Made) -> None:
    card = (it.paths.package / "README.md").read_text("utf-8")
    called = (
        f'pipeline("{it.problem.task}", model="models/package")'
        if it.problem.serve is None
        else 'load("models/package")'
    )
    assert called in card
    assert it.problem.serve is None or (it.paths.package / "serve.py").exists()
    assert "95 % interval" in card
    assert f"`{it.problem.headline}`" in card
    asked = it.problem.asked(it.paths.package, it.rows("test"), it.predictions)
    repeated = read_json(it.paths.metric("package"))["predictions_repeated"]
    assert (1 - it.problem.ties) * len(asked) <= repeated + asked.count(None) <= len(asked)
    assert read_json(it.paths.package / "provenance.json")["params"]["problem"] == it.params.problem


def test_a_champion_that_says_the_same_is_no_better_and_no_worse_on_any_row(
    it: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin = tmp_path / "twin"
    shutil.copytree(it.paths.package, twin)
    (twin / "README.md").write_text("another card", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    judge(it.params.evaluate, champions.keep(twin, it.paths.splits), it.problem, it.paths)

    found = read_json(it.paths.metric("judge"))
    assert found["rows"] == it.rows("test").height
    assert found["validation"]["candidate"] == found["validation"]["other"]
    assert found["candidate"][it.problem.headline] == pytest.approx(
        read_json(it.paths.metric("evaluate"))[it.problem.headline], rel=1e-4
    )
    for name, difference in found["difference"].items():
        assert difference["value"] == 0, name
    mine, other = (measured.read(it.paths.judged / f"{name}.arrow") for name in ("candidate", "other"))
    for name, statistic in mine.statistics.items():
        assert statistic.columns.equals(other.statistics[name].columns), name


def test_a_first_model_is_compared_with_its_best_baseline(it: Made) -> None:
    judge(it.params.evaluate, None, it.problem, it.paths)
    found = read_json(it.paths.metric("judge"))
    assert found["baseline"] == best_baseline(read_json(it.paths.metric("evaluate")))
    assert found["baseline"] is None or found["rows"] == it.rows("test").height


@pytest.mark.slow
def test_the_same_rows_make_the_same_bits(it: Made, tmp_path: Path, tiny_model: Path) -> None:
    scratch = it.params.model.from_scratch
    again = made(it.params.problem, it.params.own.model_dump(), scratch, tmp_path, tiny_model)
    for folder in ("ingested", "splits", "tokens", "checkpoint", "plots", "curves"):
        assert digests(getattr(again.paths, folder)) == digests(getattr(it.paths, folder)), folder
