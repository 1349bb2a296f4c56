"""What an isolated run starts from: the checkout as it stands, without what another run there is about."""

from pathlib import Path

import pytest

from flows.engine.workspace import isolated
from flows.git.commands import git
from flows.ledger.journal import Journal
from tasks.shared.errors import InputError
from tasks.shared.params_file import PARAMS, Layer
from tests.support.outside import make_checkout


def test_what_a_run_that_begins_meanwhile_writes_into_the_checkout_is_not_taken_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = make_checkout(tmp_path, monkeypatch)
    # what is said of it is said just before the checkout is read
    git(checkout, "init", "-q", "nested")
    git(checkout / "nested", "commit", "-q", "--allow-empty", "-m", "start")
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if line.startswith("not taking along"):
            Journal.begin(checkout)
            text = (checkout / PARAMS).read_text("utf-8")
            (checkout / PARAMS).write_text(
                text.replace("learning_rate: 0.0002", "learning_rate: 0.5"), "utf-8"
            )

    given = Layer("words", {"train": {"learning_rate": 0.001}, "data": {"path": "nowhere"}})
    with pytest.raises(InputError, match="nowhere"), isolated(given, "run", say, update_data=False):
        pass
    assert "learning_rate: 0.5" in (checkout / PARAMS).read_text("utf-8")
    assert "given: train.learning_rate 0.001 (params.yaml: 0.0002)" in said
