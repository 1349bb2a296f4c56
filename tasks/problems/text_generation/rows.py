"""What rows are: text that goes on, or conversations that end with an answer."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import polars as pl

from tasks.problems import Prediction
from tasks.problems.common import pretrained
from tasks.problems.text_generation import chat, documents, ngrams
from tasks.shared.columns import Column, Columns
from tasks.shared.files import read_text
from tasks.shared.params import Data

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

PLAIN = (".txt", ".text", ".md")


class Text:
    """Rows are plain text: the model says every token, and goes on where the beginning of a row ends."""

    columns: ClassVar[Columns] = {"text": Column("text", "input")}
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = ({"text": "Speak, speak."},)
    # what counts, and is not for the model
    carried: ClassVar[str] = "segment"

    def __init__(self, own: Any) -> None:
        """Take what only text generation has to tune."""
        self.own = own

    def read(self, file: Path, params: Data) -> Iterator[dict[str, Any]] | None:
        """Yield a text file in parts, each with the number of its document."""
        if params.format != "auto" or file.suffix.lower() not in PLAIN:
            return None
        text = read_text(file, file.name, params.encoding)
        return self._parts(text)

    def _parts(self, text: str) -> Iterator[dict[str, Any]]:
        for number, document in enumerate(documents.documents(text, self.own.document), start=1):
            for part in documents.pieces(document, self.own.chars_per_row):
                yield {"text": part, "document": number}

    def faults(self, rows: pl.DataFrame) -> list[str | None]:
        """Return why each row cannot be learned from; or None."""
        return [None] * rows.height

    def inputs(
        self, processor: "PreTrainedTokenizerBase", rows: pl.DataFrame, first: int, limit: int
    ) -> "tuple[pa.RecordBatch, int]":
        """Return documents side by side as model inputs, and how many rows were cut: none is.

        first: the number of the first row.
        """
        found = documents.windows(processor, rows, limit)
        return documents.inputs(found, first, limit, packing=self.own.packing), 0

    def counted(self, nats: np.ndarray, is_said: "Tensor", segment: "Tensor") -> list[Prediction]:
        """Return the nats and the number of tokens of each row that a model input is of.

        nats: of the tokens that the model says, (said,). is_said: of each token but the first, whether it is
        one of these. segment: of each token, which of the rows it is of.
        """
        size, of = int(segment.max()) + 1, segment[1:][is_said].cpu().numpy()
        pairs = zip(np.bincount(of, nats, size), np.bincount(of, minlength=size), strict=True)
        return [{"nats": float(lost), "tokens": int(count)} for lost, count in pairs]

    def end(self, processor: "PreTrainedTokenizerBase") -> int | None:
        """Return the token that ends what is learned; None where the tokenizer has none."""
        return pretrained.end(processor)

    def prompt(self, row: dict[str, Any], processor: "PreTrainedTokenizerBase") -> str:
        """Return the text after which the model is to go on."""
        return self._beginning(row)

    def asked(self, row: dict[str, Any], *, has_template: bool) -> Any:
        """Return what the pipeline is called with to go on after the same text; None: it cannot be."""
        return self._beginning(row)

    def _beginning(self, row: dict[str, Any]) -> str:
        return str(row["text"][: self.own.generation.prompt_chars])

    def shown(self, row: dict[str, Any]) -> tuple[str, str]:
        """Return for people what is asked with, and what the row goes on with."""
        beginning = self._beginning(row)
        return beginning, row["text"][len(beginning) :]

    def right(self, said: pl.Series, rows: pl.DataFrame) -> list[bool] | None:
        """Return whether what was generated ends as a row's answer does; None: rows have no answers."""
        return None

    def baselines(self, train: pl.DataFrame, test: pl.DataFrame) -> dict[str, pl.DataFrame]:
        """Return what letters say that follow three others."""
        return {"ngram": ngrams.of_documents(train, test)}


class Instructions(Text):
    """Rows are prompts and answers: the model says answers, and is asked for them."""

    columns: ClassVar[Columns] = {"prompt": Column("text", "input"), "answer": Column("text", "target")}
    examples = ({"prompt": "Anna has 3 apples and buys 4. How many has she?", "answer": "3 + 4 = 7\n#### 7"},)
    carried = "characters"

    def read(self, file: Path, params: Data) -> Iterator[dict[str, Any]] | None:
        """Return None: files hold tables."""
        return None

    def inputs(
        self, processor: "PreTrainedTokenizerBase", rows: pl.DataFrame, first: int, limit: int
    ) -> "tuple[pa.RecordBatch, int]":
        """Return a conversation per row as model inputs, and how many have lost their beginning."""
        return chat.inputs(processor, rows, limit, self.own.system, self.own.template_seconds)

    def counted(self, nats: np.ndarray, is_said: "Tensor", characters: "Tensor") -> Any:
        """Return the nats, tokens and letters of a row's answer; what is generated for it comes later."""
        counts = {"nats": float(nats.sum()), "tokens": len(nats), "characters": int(characters)}
        return {"predicted": None, **counts}

    def end(self, processor: "PreTrainedTokenizerBase") -> int | None:
        """Return the token that ends an answer; None where the tokenizer has none."""
        return chat.end(processor, self.own.system, self.own.template_seconds)

    def prompt(self, row: dict[str, Any], processor: "PreTrainedTokenizerBase") -> str:
        """Return what the model is asked for the answer with, by its chat template if it has one."""
        messages, tools = chat.conversation(row, self.own.system)
        return chat.prompt(processor, messages, tools, self.own.template_seconds)

    def asked(self, row: dict[str, Any], *, has_template: bool) -> Any:
        """Return what the pipeline, which knows of no tools, is called with for the same answer."""
        messages, tools = chat.conversation(row, self.own.system)
        if tools:
            return None
        return messages[:-1] if has_template else chat.plain_prompt(messages)

    def shown(self, row: dict[str, Any]) -> tuple[str, str]:
        """Return for people the last message before the answer, and the answer."""
        messages, _ = chat.conversation(row, None)
        return chat.answer(messages[:-1]), chat.answer(messages)

    def final(self, answer: str) -> str:
        """Return what of an answer is compared."""
        return chat.final(answer, self.own.answer_pattern)

    def right(self, said: pl.Series, rows: pl.DataFrame) -> list[bool] | None:
        """Return whether what was generated for each row has the final of its answer."""
        pairs = zip(said, chat.answers(rows), strict=True)
        return [text is not None and self.final(text) == self.final(answer) for text, answer in pairs]

    def baselines(self, train: pl.DataFrame, test: pl.DataFrame) -> dict[str, pl.DataFrame]:
        """Return what letters say that follow three others, and an answer with the most frequent final."""
        known = chat.answers(train)
        finals = pl.Series(map(self.final, known))
        said = known[finals.index_of(finals.mode().sort()[0]) or 0]
        rows = [said if number < self.own.generation.rows else None for number in range(test.height)]
        most_frequent = pl.DataFrame({"predicted": rows}, schema={"predicted": pl.String})
        return {"ngram": ngrams.of_answers(known, chat.answers(test)), "most_frequent": most_frequent}


class Messages(Instructions):
    """Rows are conversations as the ecosystem writes them, which end with an answer."""

    columns: ClassVar[Columns] = {"messages": Column("messages", "input")}
    examples = (
        {
            "messages": [
                {"role": "user", "content": "Where is my parcel?"},
                {"role": "assistant", "content": "It comes on Friday."},
            ]
        },
    )

    def faults(self, rows: pl.DataFrame) -> list[str | None]:
        """Return why each conversation cannot be learned from; or None."""
        return [chat.fault(text) for text in rows["messages"]]

    def counted(self, nats: np.ndarray, is_said: "Tensor", characters: "Tensor") -> Any:
        """Return the nats, tokens and letters of a row's answers; no column is predicted."""
        counts = super().counted(nats, is_said, characters)
        return {name: count for name, count in counts.items() if name != "predicted"}


ROWS: dict[str, type[Text]] = {"text": Text, "instructions": Instructions, "messages": Messages}
