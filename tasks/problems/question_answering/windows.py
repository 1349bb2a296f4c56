"""Windows over the texts that questions are asked about, as model inputs that know their answer."""

from typing import Any

import polars as pl

from tasks.problems import Encoded, Processor
from tasks.problems.common.text import num_unknown
from tasks.problems.question_answering import serve
from tasks.shared.answers import Answer, answers


def inputs(processor: Processor, rows: pl.DataFrame, first: int, overlap: int) -> Encoded:
    """Return windows over each row's context as model inputs.

    first: the number of the first row. overlap: how many tokens two windows have in common.
    `input_ids`, and `starts` and `ends`, where in the context each token stands, list<int32>;
    `start_positions` and `end_positions` int64, the first answer's tokens; `row` int64; `length` int32.
    """
    import pyarrow as pa

    given = [answers(text) for text in rows["answers"]]
    columns: dict[str, list[Any]] = {}
    for row, window in serve.windows(processor, rows["question"], rows["context"], overlap):
        start, end = _places(given[row], window["starts"], window["ends"])
        more = {"start_positions": start, "end_positions": end}
        more |= {"row": first + row, "length": len(window["starts"])}
        window.pop("attention_mask", None)
        for name, value in (window | more).items():
            columns.setdefault(name, []).append(value)
    arrays = {}
    for name, values in columns.items():
        kind = pa.int32() if name == "length" else pa.int64()
        kind = pa.list_(pa.int32()) if isinstance(values[0], list) else kind
        arrays[name] = pa.array(values, kind)
    unknown = num_unknown(processor, arrays["input_ids"])
    most = processor.model_max_length // 2
    cut = sum(serve.shortened(processor, asked, most) != asked.lstrip() for asked in rows["question"])
    return Encoded(pa.RecordBatch.from_pydict(arrays), cut, unknown)


def _places(given: list[Answer], starts: list[int], ends: list[int]) -> tuple[int, int]:
    """Return the first and last token of the first answer; where it is not all here, the one that says so."""
    none = starts.index(serve.NOWHERE)
    inside = [token for token, start in enumerate(starts) if 0 <= start < ends[token]]
    if not given or not inside:
        return none, none
    start, end = given[0].start, given[0].start + len(given[0].text)
    of_text = [token for token in inside if ends[token] > start and starts[token] < end]
    if starts[inside[0]] > start or ends[inside[-1]] < end or not of_text:
        return none, none
    return of_text[0], of_text[-1]
