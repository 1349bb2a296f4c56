"""Prompts and answers as texts: by the model's own chat template, or plainly where it has none."""

import json
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from tasks.problems.common import pretrained
from tasks.problems.common.lists import IGNORED
from tasks.shared.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedTokenizerBase

Message = dict[str, Any]
NUMBER = re.compile(r"[-+]?\$?[0-9][0-9,]*(?:\.[0-9]+)?")
# a word that no template holds
ASKED = "retrain"
# what a template is told of the time, whose own function of this name asks the clock: other bits tomorrow
TODAY = "{% macro strftime_now(format) %}26 Jul 2024{% endmacro %}"


class TemplateTimeoutError(InputError):
    """A chat template takes too long, whatever messages it is given."""


class Part(NamedTuple):
    """A part of a conversation as the model reads it, and whether the model learns to say it."""

    text: str
    is_answer: bool


def conversation(row: dict[str, Any], system: str | None) -> tuple[list[Message], Any]:
    """Return a row's messages, a prompt and its answer or `messages` as a file has them, and its tools."""
    if "messages" in row:
        return read(row["messages"]), _tools(row.get("tools"))
    first = [{"role": "system", "content": system}] if system else []
    return [
        *first,
        {"role": "user", "content": row["prompt"]},
        {"role": "assistant", "content": row["answer"]},
    ], None


def read(text: str) -> list[Message]:
    """Return the messages in JSON, without what is null: tables give every message the keys of all."""
    messages: list[Message] = [_without_null(message) for message in json.loads(text)]
    return messages


def _tools(text: Any) -> Any:
    return json.loads(text) if isinstance(text, str) and text.strip() else None


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_null(inner) for key, inner in value.items() if inner is not None}
    return [_without_null(inner) for inner in value] if isinstance(value, list) else value


def fault(text: str) -> str | None:
    """Return why a text is no conversation that a model can learn from; or None."""
    try:
        messages = read(text)
        roles = [message["role"] for message in messages]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return "no list of messages, each an object with a role"
    if not all(isinstance(role, str) for role in roles):
        return "a role that is no text"
    if "assistant" not in roles[1:]:
        return "no message of the assistant after another"
    if roles[-1] != "assistant":
        return f"the last message is the {roles[-1]}'s, not the assistant's"
    return None


def answer(messages: list[Message]) -> str:
    """Return what the last message says: its text, and tool calls as JSON."""
    said = messages[-1].get("content") or ""
    text = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
    calls = messages[-1].get("tool_calls")
    return text + (json.dumps(calls, ensure_ascii=False) if calls else "")


def answers(rows: pl.DataFrame) -> list[str]:
    """Return the answer that each row ends with."""
    if "answer" in rows.columns:
        return rows["answer"].to_list()
    return [answer(read(text)) for text in rows["messages"]]


def final(answer: str, pattern: str | None) -> str:
    """Return what of an answer is compared: what a pattern finds last.

    Numbers are in one spelling, $1,234.00 as 1234.
    """
    if pattern:
        found = list(re.finditer(pattern, answer))
        answer = (found[-1][found[-1].re.groups] or "") if found else ""
    answer = " ".join(answer.split())
    if not NUMBER.fullmatch(answer):
        return answer
    return f"{float(answer.replace(',', '').replace('$', '')):.15g}"


def inputs(
    processor: "PreTrainedTokenizerBase",
    rows: pl.DataFrame,
    limit: int,
    system: str | None,
    seconds: float,
) -> "tuple[pa.RecordBatch, int]":
    """Return conversations as model inputs of at most `limit` tokens, and how many have lost their beginning.

    `input_ids` list<int32>; `labels` list<int64>, ignored but for what the model learns to say; `characters`
    int32, how many letters that is; `length` int32.
    """
    import pyarrow as pa

    columns: dict[str, list[Any]] = {name: [] for name in ("input_ids", "labels", "characters", "length")}
    truncated = 0
    for row in rows.iter_rows(named=True):
        messages, tools = conversation(row, system)
        ids: list[int] = []
        labels: list[int] = []
        for part in parts(processor, messages, tools, seconds):
            tokens = processor(part.text, add_special_tokens=False)["input_ids"]
            ids += tokens
            labels += tokens if part.is_answer else [IGNORED] * len(tokens)
        truncated += len(ids) > limit
        # the answer stands at the end
        ids, labels = ids[-limit:], labels[-limit:]
        said = [token for token in labels[1:] if token != IGNORED]
        columns["input_ids"].append(ids)
        columns["labels"].append(labels)
        columns["characters"].append(len(processor.decode(said, skip_special_tokens=True)))
        columns["length"].append(len(ids))
    types = {
        "input_ids": pa.list_(pa.int32()),
        "labels": pa.list_(pa.int64()),
        "characters": pa.int32(),
        "length": pa.int32(),
    }
    batch = pa.RecordBatch.from_pydict(
        {name: pa.array(values, types[name]) for name, values in columns.items()}
    )
    return batch, truncated


def parts(
    processor: "PreTrainedTokenizerBase", messages: list[Message], tools: Any, seconds: float
) -> list[Part]:
    """Return a conversation as the model reads it, in parts that it learns to say and others.

    Every message of the assistant is learned whose beginning is what the model would be asked with;
    a template that writes earlier ones otherwise than the last (Qwen 3 leaves out their thoughts) has only
    the last learned. Raises InputError when not even that one begins so.
    """
    if not processor.chat_template:
        return _plain(processor, messages)
    whole = render(processor, messages, tools, seconds)
    found: list[Part] = []
    done = ""
    for number, message in enumerate(messages):
        if message["role"] != "assistant" or number == 0:
            continue
        asked = render(processor, messages[:number], tools, seconds, ask=True)
        said = (
            whole
            if number == len(messages) - 1
            else render(processor, messages[: number + 1], tools, seconds)
        )
        if not (whole.startswith(said) and said.startswith(asked) and asked.startswith(done)):
            continue
        found += [Part(asked[len(done) :], is_answer=False), Part(said[len(asked) :], is_answer=True)]
        done = said
    if done != whole:
        begins = (
            "the model's chat template does not begin a conversation that ends with an answer "
            "as it asks for one"
        )
        raise InputError(f"model.name: {begins}; name a model with another template")
    return found


def prompt(processor: "PreTrainedTokenizerBase", messages: list[Message], tools: Any, seconds: float) -> str:
    """Return what the model is asked for the last message with."""
    if not processor.chat_template:
        return plain_prompt(messages)
    return render(processor, messages[:-1], tools, seconds, ask=True)


def end(processor: "PreTrainedTokenizerBase", system: str | None, seconds: float) -> int | None:
    """Return the special token that ends an answer as it is learned; that of a text where none does.

    A base model's template may end answers with another token than the one that ends its texts. Raises
    TemplateTimeoutError, as `render` does.
    """
    usual = pretrained.end(processor)
    if not processor.chat_template:
        return usual
    messages, _ = conversation({"prompt": ASKED, "answer": ASKED}, system)
    try:
        said = parts(processor, messages, None, seconds)[-1].text
    except TemplateTimeoutError:
        raise
    except InputError:
        # one that takes no such conversation, but those that rows hold
        return usual
    behind = processor(said.rpartition(ASKED)[2], add_special_tokens=False)["input_ids"]
    special = set(processor.all_special_ids)
    special |= {number for number, token in processor.added_tokens_decoder.items() if token.special}
    return next((token for token in behind if token in special), usual)


def render(
    processor: "PreTrainedTokenizerBase",
    messages: list[Message],
    tools: Any,
    seconds: float,
    *,
    ask: bool = False,
) -> str:
    """Return messages as the model's chat template writes them, in the sandbox of transformers.

    ask: whether it ends with how an answer begins.
    Raises InputError when the template fails, and TemplateTimeoutError when it takes too long.
    """
    try:
        with _at_most(seconds):
            template = TODAY + processor.get_chat_template(tools=tools)
            given: dict[str, Any] = {"tools": tools, "chat_template": template, "add_generation_prompt": ask}
            return str(processor.apply_chat_template(messages, tokenize=False, **given))
    except TimeoutError:
        long = f"the model's chat template took longer than text_generation.template_seconds, {seconds:g}"
        raise TemplateTimeoutError(f"{long}; raise it, or name a model with another template") from None
    except Exception as error:  # noqa: BLE001 - whatever somebody's template raises
        said = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        roles = ", ".join(message["role"] for message in messages)
        raise InputError(
            f"the model's chat template does not take messages of the roles {roles} ({said})"
        ) from None


def _plain(processor: "PreTrainedTokenizerBase", messages: list[Message]) -> list[Part]:
    """Return a conversation without a template: a line for each message, and the token that ends a text."""
    end = pretrained.end(processor)
    last = "" if end is None else str(processor.convert_ids_to_tokens(end))
    return [Part(plain_prompt(messages), is_answer=False), Part(answer(messages) + last, is_answer=True)]


def plain_prompt(messages: list[Message]) -> str:
    """Return what a model without a template is asked for the last message with."""
    return "".join(f"{text}\n" for message in messages[:-1] if (text := answer([message])))


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Raise TimeoutError where what is done takes longer; in a main thread, as a stage's is.

    Ray Train has a thread train, which no signal stops: tokenize has timed the template of every row before.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_: int, __: FrameType | None) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
