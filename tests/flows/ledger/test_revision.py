"""What a revision recorded of its data and its code, beside what stands there."""

import pytest

from flows.ledger.revision import changed_key, checkout_data
from flows.ledger.stages import Ledger
from tests.support.project import Project


def test_changed_code_is_no_damaged_data_and_damaged_data_is_no_changed_code(
    trained: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained.root)
    assert checkout_data(Ledger(trained.root)) is None
    code = trained.root / "tasks/train/divergence.py"
    code.write_text(code.read_text("utf-8") + "# more\n", encoding="utf-8")
    assert checkout_data(Ledger(trained.root)) is None
    assert changed_key(Ledger(trained.root), "train") == ["tasks/train/divergence.py"]
    assert changed_key(Ledger(trained.root), "split") == []
    data = trained.root / "data/raw/tickets.csv"
    data.write_text(data.read_text("utf-8") + "where is it,order\n", encoding="utf-8")
    wrong = checkout_data(Ledger(trained.root))
    assert wrong is not None
    assert (wrong.is_missing, str(wrong)) == (
        False,
        "data damaged: data/raw/tickets.csv is not what dvc.lock recorded",
    )
    data.unlink()
    missing = checkout_data(Ledger(trained.root))
    assert missing is not None
    assert missing.is_missing
