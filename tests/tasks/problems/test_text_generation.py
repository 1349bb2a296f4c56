"""Language models: documents side by side that do not see each other, answers alone learned, adapters, real sets and their quirks."""

import json
import re
import shutil
import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file

from tasks.evaluate import evaluate
from tasks.ingest import ingest
from tasks.package import package
from tasks.problems.text_generation import TextGeneration, adapters, causal, chat, documents, ngrams
from tasks.shared import base_models
from tasks.shared.errors import InputError
from tasks.shared.params import Data, Ingest, Params, Tokenize
from tasks.shared.paths import Paths
from tasks.split import split
from tasks.tokenize import tokenize
from tasks.train import train
from tests.support.project import ROOT, SHARED

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content or '' }}"
    "{% for call in message.tool_calls or [] %}<call>{{ call.function | tojson }}</call>{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TALK = [
    {"role": "user", "content": "which parcel is late"},
    {"role": "assistant", "content": "order seven"},
    {"role": "user", "content": "when does it come"},
    {"role": "assistant", "content": "today"},
]


def problem(**own: Any) -> TextGeneration:
    """Return the problem with some of its params."""
    return TextGeneration(Params.model_validate({"problem": "text_generation", "text_generation": own}).own)


def tokenizer(template: str | None = None) -> Any:
    """Return a tokenizer of letters that ends texts with a token of its own."""
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    letters = [chr(number) for number in range(32, 127)] + ["\n"]
    special = ["<pad>", "<end>", "<unk>", "<|im_start|>", "<|im_end|>"]
    ids = {token: number for number, token in enumerate([*special, *letters])}
    unknown = {"unk_token": "<unk>"}
    model = Tokenizer(models.BPE(ids, [], **unknown))
    model.decoder = decoders.Fuse()
    named = {"pad_token": "<pad>", "eos_token": "<end>", "unk_token": "<unk>"}
    made = PreTrainedTokenizerFast(
        tokenizer_object=model, model_max_length=512, additional_special_tokens=special[3:], **named
    )
    made.chat_template = template
    return made


def model(attention: str = "sdpa", kind: str = "llama") -> Any:
    """Return a small language model over those letters."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    sizes = {
        "llama": {
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
        }
    }
    sizes["gpt2"] = {"n_embd": 32, "n_layer": 2, "n_head": 4}
    sizes["bert"] = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    ends = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 1}
    config = AutoConfig.for_model(
        kind, use_cache=False, vocab_size=101, max_position_embeddings=128, **ends, **sizes[kind]
    )
    # as the problem has it: with a cache, positions make no mask
    return AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()


def rows(texts: list[str], names: list[str] | None = None) -> pl.DataFrame:
    """Return texts as ingest leaves them."""
    found = pl.DataFrame({"text": texts, "source_file": ["a.txt"] * len(texts)})
    found = found.with_columns(source_row=pl.Series(range(1, len(texts) + 1)))
    return found if names is None else found.with_columns(document=pl.Series(names))


def batch_of(texts: list[str], limit: int = 64) -> dict[str, Any]:
    """Return documents as a batch."""
    made = problem(rows="text")
    found = documents.inputs(documents.windows(tokenizer(), rows(texts), limit), 0, limit, packing=True)
    return dict(made.collator(tokenizer())(found.to_pylist()))


# documents and their rows


def test_parts_of_a_document_make_the_document_and_end_with_lines() -> None:
    text = "one line\nanother line\n\n   \n" + "x" * 50 + "\nlast"
    parts = list(documents.pieces(text, 16))
    assert "".join(parts) == text
    assert all(part.strip() for part in parts)
    assert parts[0] == "one line\n"
    assert max(map(len, parts)) <= 32


def test_blank_lines_part_documents_where_they_are_asked_to() -> None:
    assert documents.documents("a\r\nb\r\n \r\n\r\nc\n", "block") == ["a\nb", "c\n"]
    assert documents.documents("a\n\nb", "file") == ["a\n\nb"]


def test_a_text_file_is_read_as_rows_of_its_documents(tmp_path: Path) -> None:
    file = tmp_path / "some.txt"
    file.write_text("first speech\n\nsecond speech\n", encoding="utf-8")
    found = list(problem(rows="text", document="block").read(file, Data()) or ())
    assert found == [{"text": "first speech", "document": 1}, {"text": "second speech\n", "document": 2}]
    assert problem(rows="text").read(tmp_path / "table.csv", Data()) is None
    assert problem(rows="instructions").read(file, Data()) is None


def test_each_token_is_predicted_once_and_counted_for_the_row_it_is_from() -> None:
    texts = ["abc" * 30, "de" * 30, "f" * 7]
    names = ["1", "1", "2"]
    letters = tokenizer()
    found = documents.windows(letters, rows(texts, names), 16)
    counts = [0, 0, 0]
    for window in found:
        for row in window.rows[1:]:
            counts[row] += 1
    # the end token of a document counts for its last row
    assert counts == [90, 61, 8]
    assert max(len(window.ids) for window in found) == 16


def test_parts_of_a_document_between_which_rows_are_missing_are_not_read_on() -> None:
    whole = rows(["ab", "cd", "ef", "gh", "ij"], ["1", "1", "1", "1", None])
    # as a split leaves them that was drawn by row
    some = whole[[0, 1, 3, 4]]
    assert documents.of_rows(whole) == [[0, 1, 2, 3], [4]]
    assert documents.of_rows(some) == [[0, 1], [2], [3]]
    assert [len(window.ids) for window in documents.windows(tokenizer(), some, 16)] == [6, 4, 4]
    # three letters before one are its own document's
    train, apart = rows(["abcabcabc"]), rows(["g", "h"])
    alone = ngrams.of_documents(train, apart)["nats"].to_list()
    cut = rows(["g", "-", "h"], ["1"] * 3)[[0, 2]]
    assert ngrams.of_documents(train, cut)["nats"].to_list() == alone


def test_rows_filled_with_documents_of_any_length_waste_less_than_a_tenth() -> None:
    import random

    draw = random.Random(0)  # noqa: S311 (no secret)
    lengths = [min(128, int(draw.paretovariate(1.1) * 10)) for _ in range(1000)]
    filled = documents.packed(lengths, 128)
    assert sorted(number for row in filled for number in row) == list(range(1000))
    totals = [sum(lengths[number] for number in row) for row in filled]
    assert max(totals) <= 128
    assert sum(totals) / (128 * len(filled)) > 0.9


# packed documents do not see each other


@pytest.mark.parametrize(("kind", "attention"), [("llama", "sdpa"), ("llama", "eager"), ("gpt2", "sdpa")])
def test_a_packed_document_has_the_logits_that_it_has_alone(kind: str, attention: str) -> None:
    network = model(attention, kind)
    texts = ["a parcel is late", "refund me", "my jacket is too large", "thanks"]
    together = batch_of(texts)
    assert together["input_ids"].shape[0] < len(texts)
    assert "attention_mask" not in together
    found = []
    with torch.no_grad():
        logits = network(input_ids=together["input_ids"], position_ids=together["position_ids"]).logits
        for row, ids, positions in zip(logits, together["input_ids"], together["position_ids"], strict=True):
            starts = [*(positions == 0).nonzero().flatten().tolist(), len(ids)]
            for start, end in pairwise(starts):
                alone = network(input_ids=ids[None, start:end]).logits[0]
                torch.testing.assert_close(row[start:end], alone, rtol=1e-4, atol=1e-5)
                found.append(end - start)
    assert len(found) >= len(texts)


def test_ours_are_the_positions_that_transformers_flattens_batches_with() -> None:
    from transformers import DataCollatorWithFlattening

    texts = ["a parcel is late", "refund me"]
    windows = documents.windows(tokenizer(), rows(texts), 64)
    ours = documents.inputs(windows, 0, 64, packing=True).to_pylist()[0]
    features = [{"input_ids": window.ids.tolist()} for window in windows]
    theirs = DataCollatorWithFlattening()(features)
    assert ours["input_ids"] == theirs["input_ids"][0].tolist()
    assert ours["position_ids"] == theirs["position_ids"][0].tolist()
    assert ours["labels"] == theirs["labels"][0].tolist()


def test_a_model_that_sees_what_comes_after_is_refused() -> None:
    network = model(kind="bert")
    with pytest.raises(InputError, match="sees what comes after"):
        causal.check(network, {"input_ids": batch_of(["a parcel"])["input_ids"]})


def test_a_model_that_sees_the_documents_beside_is_refused() -> None:
    network = model()
    together = batch_of(["a parcel is late", "refund me"])

    class Blind(torch.nn.Module):
        """One that is given no positions."""

        config = network.config
        get_input_embeddings = staticmethod(network.get_input_embeddings)

        def forward(self, input_ids: Any, position_ids: Any) -> Any:
            return network(input_ids=input_ids)

    inputs = {name: together[name] for name in ("input_ids", "position_ids")}
    with torch.no_grad():
        causal.check(network, inputs)
        with pytest.raises(InputError, match=r"set text_generation\.packing to false"):
            causal.check(Blind(), inputs)  # type: ignore[arg-type]


# conversations


def encoded(row: dict[str, Any], template: str | None, **own: Any) -> dict[str, Any]:
    """Return a row as a model input."""
    (found,) = problem(**own).encode(tokenizer(template), pl.DataFrame([row]), {}, Tokenize(max_length=512))
    (only,) = found.inputs.to_pylist()
    return dict(only)


def learned(row: dict[str, Any]) -> str:
    """Return what a model learns to say."""
    return str(tokenizer().decode([token for token in row["labels"] if token != documents.IGNORED]))


def test_only_what_the_assistant_says_is_learned() -> None:
    row = encoded({"messages": json.dumps(TALK)}, CHATML, rows="messages")
    assert learned(row) == "order seven<|im_end|>\ntoday<|im_end|>\n"
    assert row["characters"] == len("order seven\ntoday\n")
    read = tokenizer().decode(row["input_ids"])
    assert read.startswith(
        "<|im_start|>user\nwhich parcel is late<|im_end|>\n<|im_start|>assistant\norder seven<|im_end|>\n"
    )


@pytest.mark.parametrize("rows_are", ["instructions", "messages"])
def test_generation_ends_where_a_learned_answer_ends(rows_are: str, tmp_path: Path) -> None:
    network, letters = model(kind="gpt2"), tokenizer(CHATML)
    end = letters.convert_tokens_to_ids("<|im_end|>")
    with torch.no_grad():
        # whatever it reads, it says that the answer ends
        network.transformer.ln_f.weight.zero_()
        network.transformer.ln_f.bias.fill_(1)
        network.transformer.wte.weight.zero_()
        network.transformer.wte.weight[end] = 1
    network.save_pretrained(tmp_path / "base")
    assert network.generation_config.eos_token_id == 1
    trained, _ = problem(rows=rows_are).model(tmp_path / "base", letters, {})
    trained.save_pretrained(tmp_path / "kept")
    kept, _ = problem(rows=rows_are).model(tmp_path / "kept", letters, {})
    assert kept.generation_config.eos_token_id == trained.generation_config.eos_token_id == [1, end]
    said = kept.generate(torch.tensor([[7, 8]]), max_new_tokens=5, do_sample=False)
    assert said.tolist() == [[7, 8, end]]


def test_generation_of_text_ends_with_the_token_that_ends_texts(tmp_path: Path) -> None:
    model().save_pretrained(tmp_path)
    trained, _ = problem(rows="text").model(tmp_path, tokenizer(CHATML), {})
    assert trained.generation_config.eos_token_id == 1


def test_an_answer_ends_with_the_first_special_token_behind_it() -> None:
    thinks = "{% for message in messages %}{{ message.role }}: <|im_start|>{{ message.content }}\n<|im_end|>\n<end>{% endfor %}"
    thinks += "{% if add_generation_prompt %}assistant: {% endif %}"
    letters = tokenizer(thinks)
    assert chat.end(letters, None, 5) == letters.convert_tokens_to_ids("<|im_end|>")
    # of a template that needs no such token, or takes no such conversation, it is the tokenizer's
    plain = thinks.replace("<|im_end|>", "").replace("<end>", "").replace("<|im_start|>", "")
    assert chat.end(tokenizer(plain), None, 5) == letters.eos_token_id
    assert chat.end(tokenizer("{{ raise_exception('no') }}"), None, 5) == letters.eos_token_id


def test_an_answer_ends_in_a_thread_as_in_the_main_one() -> None:
    letters, found = tokenizer(CHATML), []
    thread = threading.Thread(target=lambda: found.append(chat.end(letters, None, 5)))
    thread.start()
    thread.join()
    assert found == [chat.end(letters, None, 5)] == [letters.convert_tokens_to_ids("<|im_end|>")]


def test_a_template_that_takes_too_long_does_not_end_answers_with_another_token() -> None:
    endless = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}"
    with pytest.raises(InputError, match=r"longer than text_generation\.template_seconds, 0\.2"):
        chat.end(tokenizer(endless), None, 0.2)


def test_a_prompt_is_a_conversation_by_the_template_and_else_a_line() -> None:
    row = {"prompt": "two and two", "answer": "four"}
    assert learned(encoded(row, CHATML, rows="instructions")) == "four<|im_end|>\n"
    spoken = encoded(row, CHATML, rows="instructions", system="be brief")
    assert tokenizer().decode(spoken["input_ids"]).startswith("<|im_start|>system\nbe brief<|im_end|>\n")
    plain = encoded(row, None, rows="instructions")
    assert learned(plain) == "four<end>"
    assert tokenizer().decode(plain["input_ids"]) == "two and two\nfour<end>"


def test_a_tokenizer_is_learned_from_some_conversations_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.problems.common.text.AT_ONCE", 2)
    talks = [[TALK[0], {"role": "assistant", "content": f"order {number}"}] for number in range(5)]
    train_rows = pl.LazyFrame({"messages": [json.dumps(talk) for talk in talks]})
    found = list(problem(rows="messages").texts(train_rows))
    assert [len(batch) for batch in found] == [4, 4, 2]
    assert [said for batch in found for said in batch][::2] == ["which parcel is late"] * 5


def test_tool_calls_are_kept_and_learned() -> None:
    call = {"type": "function", "function": {"name": "find", "arguments": {"order": 7}}}
    talk = [TALK[0], {"role": "assistant", "tool_calls": [call], "content": None}]
    row = encoded({"messages": json.dumps(talk)}, CHATML, rows="messages")
    assert '<call>{"name": "find", "arguments": {"order": 7}}</call>' in learned(row)
    answered = [*talk, {"role": "tool", "content": "late"}, {"role": "assistant", "content": "it is late"}]
    row = encoded({"messages": json.dumps(answered)}, CHATML, rows="messages")
    assert learned(row).endswith("it is late<|im_end|>\n")


def test_a_template_that_rewrites_earlier_answers_has_only_the_last_learned() -> None:
    forgets = "{% for message in messages %}{{ message.role }}: {{ message.content if loop.last or message.role == 'user' else '...' }}\n{% endfor %}"
    forgets += "{% if add_generation_prompt %}assistant: {% endif %}"
    assert learned(encoded({"messages": json.dumps(TALK)}, forgets, rows="messages")) == "today\n"


def test_a_template_that_takes_too_long_or_fails_is_said_in_a_sentence() -> None:
    endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    with pytest.raises(InputError, match=r"took longer than text_generation\.template_seconds, 0\.2"):
        chat.render(tokenizer(endless), TALK, None, 0.2)
    with pytest.raises(InputError, match="does not take messages of the roles user"):
        chat.render(tokenizer("{{ raise_exception('no system message') }}"), TALK[:1], None, 5)
    # the sandbox of transformers
    with pytest.raises(InputError, match="SecurityError"):
        chat.render(tokenizer("{{ ''.__class__.__mro__ }}"), TALK[:1], None, 5)


def test_a_template_is_not_told_the_time() -> None:
    assert chat.render(tokenizer("{{ strftime_now('%d %b %Y') }}"), TALK[:1], None, 5) == "26 Jul 2024"


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ([{"role": "user", "content": "hello"}], "no message of the assistant after another"),
        ([{"role": "assistant", "content": "hello"}], "no message of the assistant after another"),
        (TALK[:3], "the last message is the user's, not the assistant's"),
        ([{"from": "human", "value": "hello"}], "no list of messages, each an object with a role"),
        ({"role": "user"}, "no list of messages, each an object with a role"),
    ],
)
def test_a_conversation_without_an_answer_is_rejected(messages: Any, why: str) -> None:
    table = pl.DataFrame({"messages": [json.dumps(messages), json.dumps(TALK)]})
    assert problem(rows="messages").reject(table, Ingest()).to_list() == [why, None]


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_conversations_are_taken_in_as_the_ecosystem_writes_them(tmp_path: Path, ending: str) -> None:
    call = {"type": "function", "function": {"name": "find", "arguments": '{"order": 7}'}}
    called = [
        TALK[0],
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "late"},
        TALK[1],
    ]
    talks = [{"messages": TALK}, {"messages": called}]
    file = tmp_path / f"talks.{ending}"
    if ending == "jsonl":
        file.write_text("".join(json.dumps(talk) + "\n" for talk in talks), encoding="utf-8")
    else:
        # every message has the keys of all, as in files of `datasets`
        pl.DataFrame(talks).write_parquet(file)
    ingest(Data(path=str(file)), Ingest(), problem(rows="messages"), Paths(tmp_path))
    found = [chat.read(text) for text in pl.read_parquet(tmp_path / "data/ingested/rows.parquet")["messages"]]
    assert found == [TALK, [called[0], {"role": "assistant", "tool_calls": [call]}, *called[2:]]]


# answers


@pytest.mark.parametrize(
    ("said", "final"),
    [
        ("so 5\n#### 1,234", "1234"),
        ("#### 7\n#### 8 ", "8"),
        ("#### $1,000.50", "1000.5"),
        ("#### -3", "-3"),
        ("five", ""),
        ("#### ten apples", "ten apples"),
    ],
)
def test_the_final_answer_is_what_the_last_match_says(said: str, final: str) -> None:
    assert problem(answer_pattern="#### (.+)").rows.final(said) == final


def test_answers_are_compared_where_one_was_generated() -> None:
    made = problem(answer_pattern="#### (.+)")
    table = pl.DataFrame({"prompt": ["a", "b", "c"], "answer": ["#### 1,000", "#### 2", "#### 3"]})
    found = made.measure(pl.DataFrame({"predicted": ["is #### 1000", "#### 5", None]}), table, {})
    assert found["exact_match"].columns.to_dicts() == [
        {"right": 1, "asked": 1},
        {"right": 0, "asked": 1},
        {"right": 0, "asked": 0},
    ]


@pytest.mark.parametrize(
    "own", [{"answer_pattern": "("}, {"answer_pattern": "(a)(b)"}, {"rows": "text", "answer_pattern": "a"}]
)
def test_a_pattern_that_says_nothing_is_refused(own: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="answer_pattern"):
        problem(**own)


def test_letters_have_the_odds_that_their_counts_give() -> None:
    import math

    (nats,) = ngrams.nats(["abab"], ["ab?"], order=1)
    # a stands first once in once; then b follows a twice in twice; nothing has followed b but a
    assert nats == pytest.approx([-math.log(1.1 / 1.3), -math.log(2.1 / 2.3), -math.log(0.1 / 1.3)])


# adapters


def test_adapters_are_few_weights_and_come_back_with_a_checkpoint_and_merged_or_apart(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    pytest.importorskip("peft")
    its = problem(lora={"r": 2, "target_modules": ["v_proj", "q_proj"]})
    network, letters = model(), tokenizer()
    adapters.add(network, its.params.lora)
    trained = [name for name, weight in network.named_parameters() if weight.requires_grad]
    assert trained
    assert all(".lora_" in name for name in trained)
    for name, weight in network.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(weight, generator=torch.Generator().manual_seed(1))
    checkpoint = tmp_path / "checkpoint"
    network.save_pretrained(checkpoint)
    letters.save_pretrained(checkpoint)
    assert adapters.are_in(checkpoint)
    ids = {"input_ids": torch.arange(5, 25)[None]}
    with torch.no_grad():
        expected = network(**ids).logits
        again, _ = its.model(checkpoint, letters, {})
        torch.testing.assert_close(again.eval()(**ids).logits, expected)
        for merge in (True, False):
            out = tmp_path / f"merged-{merge}"
            out.mkdir()
            problem(lora={"r": 2, "target_modules": ["v_proj", "q_proj"], "merge": merge}).export(
                checkpoint, out
            )
            assert (out / "adapter_model.safetensors").exists() != merge
            packaged = AutoModelForCausalLM.from_pretrained(out).eval()
            torch.testing.assert_close(packaged(**ids).logits, expected, rtol=1e-4, atol=1e-5)
    assert str(tmp_path) not in (tmp_path / "merged-False/adapter_config.json").read_text("utf-8")


def test_a_layer_that_is_not_there_is_refused_with_those_that_are() -> None:
    pytest.importorskip("peft")
    with pytest.raises(
        InputError, match="known: down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj"
    ):
        adapters.add(model(), problem(lora={"r": 2, "target_modules": ["query"]}).params.lora)


# the whole way


def run(folder: Path, data: Path, own: dict[str, Any], **sections: Any) -> tuple[TextGeneration, Paths]:
    """Run all stages in a folder, in this process; return the problem and where its outputs are."""
    # its provenance names them
    shutil.copyfile(ROOT / "pins.yaml", "pins.yaml")
    quick = {
        "split": {"method": "by_position", "validation_share": 0.2, "test_share": 0.2},
        "evaluate": {"n_resamples": 100},
    }
    quick["train"] = {"num_train_epochs": 1.0, "per_device_train_batch_size": 4, "learning_rate": 3e-3}
    given = {
        "problem": "text_generation",
        "data": {"path": str(data)},
        "text_generation": own,
        **quick,
        **sections,
    }
    params = Params.model_validate(given)
    params = params.model_copy(update={"model": base_models.resolve(params.model)})
    its, paths = TextGeneration(params.own), Paths(folder)
    ingest(params.data, params.ingest, its, paths)
    split(params.split, its.columns, paths)
    tokenize(params.tokenize, params.model, its, paths)
    train(params.train, base_models.fetch(params.model), its, paths, folder / "resume")
    evaluate(params.evaluate, its, paths)
    package(params, its, paths)
    return its, paths


@pytest.mark.slow
def test_speeches_are_learned_letter_by_letter_side_by_side_and_measured_as_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    speeches = [
        f"{name}:\nthe {thing} is {state}, and so it stays"
        for name in "ABCD"
        for thing in ("king", "sea", "crown")
        for state in "vwxyz"
    ]
    file = tmp_path / "play.txt"
    file.write_text("\n\n".join(speeches), encoding="utf-8")
    sizes = {
        "type": "llama",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    sizes |= {"num_key_value_heads": 4, "max_position_embeddings": 256}
    own = {
        "rows": "text",
        "document": "block",
        "generation": {"rows": 3, "max_new_tokens": 8, "prompt_chars": 12},
    }
    its, paths = run(
        tmp_path / "run",
        file,
        own,
        model={"name": "none", "from_scratch": sizes},
        tokenize={"max_length": 128, "train": {"kind": "character"}},
    )
    data = Dataset.from_file(str(paths.tokens / "train.arrow"))
    lengths = data.data["length"].to_pylist()
    assert len(lengths) < 36
    assert sum(lengths) > 0.9 * max(lengths) * len(lengths)
    kept = pl.read_csv(paths.plots / "predictions.csv")
    assert kept.height == 12
    assert kept["predicted"].null_count() == 9
    rows_ = pl.read_parquet(paths.split("test"))
    processor = its.load_processor(paths.checkpoint)
    network = its.model(paths.checkpoint, processor, {})[0].eval()
    apart = problem(**own, packing=False)
    (encoded_,) = apart.encode(processor, rows_, {}, Tokenize(max_length=128))
    found = [
        apart.predict(network, processor, apart.collator(processor)([row]), {})
        for row in encoded_.inputs.to_pylist()
    ]
    alone = [prediction["nats"] for ((prediction,),) in found]
    assert kept["nats"].to_list() == pytest.approx(alone, rel=1e-3)
    scores = json.loads(paths.metric("evaluate").read_text("utf-8"))
    assert scores["nats_per_character"] == pytest.approx(sum(alone) / sum(map(len, rows_["text"])), rel=1e-3)
    assert scores["baselines"].keys() == {"ngram"}
    samples = pl.read_csv(paths.plots / "samples.csv")
    assert samples.columns == ["prompt", "generated", "expected"]
    assert "prompt" in (paths.package / "README.md").read_text("utf-8")


@pytest.mark.slow
def test_conversations_are_learned_by_adapters_that_stay_apart_in_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("peft")
    monkeypatch.chdir(tmp_path)
    base = tmp_path / "base"
    model().save_pretrained(base)
    tokenizer(CHATML).save_pretrained(base)
    talks = []
    for number in range(40):
        user = {"role": "user", "content": f"say {number}"}
        talks.append({"messages": [user, {"role": "assistant", "content": f"{number % 3}"}]})
    file = tmp_path / "talks.jsonl"
    file.write_text("".join(json.dumps(talk) + "\n" for talk in talks), encoding="utf-8")
    _, paths = run(
        tmp_path / "run",
        file,
        {
            "rows": "messages",
            "generation": {"rows": 3, "max_new_tokens": 4},
            "lora": {"r": 1, "target_modules": ["q_proj"], "merge": False},
        },
        model={"name": str(base)},
        tokenize={"max_length": 128},
    )
    trained = json.loads(paths.metric("train").read_text("utf-8"))
    assert trained["trainable_parameters"] == 2 * (32 + 32)
    assert trained["trainable_parameters"] < 0.02 * trained["parameters"]
    assert (paths.package / "adapter_model.safetensors").stat().st_size < (
        paths.package / "model.safetensors"
    ).stat().st_size / 10
    measured = json.loads(paths.metric("package").read_text("utf-8"))
    assert measured["predictions_repeated"] == 3
    base_weights, kept = (load_file(folder / "model.safetensors") for folder in (base, paths.package))
    assert base_weights.keys() == kept.keys()
    assert all(torch.equal(base_weights[name], kept[name]) for name in kept)


# real sets


@pytest.mark.shared
def test_tinyshakespeare_is_one_document_of_65_letters_whose_last_tenth_three_letters_say_with_1_784_nats() -> (
    None
):
    file = SHARED / "tinyshakespeare/input.txt"
    text = file.read_text("ascii")
    found = list(problem(rows="text").read(file, Data()) or ())
    assert "".join(row["text"] for row in found) == text
    assert {row["document"] for row in found} == {1}
    assert len(set(text)) == 65
    border = int(0.9 * len(text))
    (nats,) = ngrams.nats([text[:border]], [text[border:]])
    assert sum(nats) / len(nats) == pytest.approx(1.784, abs=0.001)
    speeches = list(problem(rows="text", document="block").read(file, Data()) or ())
    assert len({row["document"] for row in speeches}) == len(
        [part for part in re.split("\n\n+", text) if part.strip()]
    )


@pytest.mark.shared
def test_gsm8k_answers_have_lines_and_a_final_number_with_commas_in_some() -> None:
    made = problem(answer_pattern="#### (.+)")
    commas = 0
    for name, count in (("train", 7473), ("test", 1319)):
        table = pl.read_ndjson(SHARED / f"gsm8k/{name}.jsonl")
        assert table.height == count
        assert table["answer"].str.contains("\n").all()
        finals = [made.rows.final(answer) for answer in table["answer"]]
        assert all(float(final) == int(float(final)) for final in finals)
        commas += table["answer"].str.contains(r"#### .*,").sum()
    assert commas == 79 + 14
