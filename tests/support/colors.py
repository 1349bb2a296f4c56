"""Rows that a tiny model learns in seconds, and an earlier one cannot know all labels of."""

from tests.support.project import Project

WORDS = {"red": "warm", "blue": "cold", "green": "fresh"}
LEARNS = ("--train.learning-rate", "0.003", "--num-train-epochs", "10", "--per-device-train-batch-size", "16")


def rows(project: Project, *words: str, each: int = 300) -> None:
    lines = ["text,label"]
    for number in range(each):
        lines += [f"{word} {number},{WORDS[word]}" for word in words]
    (project.root / "data/raw/colors.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
