"""What a tag says is checked against the bytes, the statistics and a key; the card tells it to people."""

import json
import shutil
import subprocess
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from flows.cli.models import models
from flows.cli.promote import promote
from flows.cli.verify import verify
from flows.git.commands import git
from flows.ledger.experiments import save
from flows.ledger.stages import Ledger
from flows.registry import candidate, looks, signing
from flows.registry.tags import read
from tasks.shared.errors import InputError
from tasks.shared.files import digests, write_json
from tasks.shared.measured import Measured, write
from tasks.shared.statistics import Statistic
from tests.support.project import environment
from tests.support.registry import NAME, STAGE, packaging, quiet, tags
from tests.support.unread import unread

pytest.importorskip("model_signing")

ROWS = 400
DVC_YAML = """
stages:
  package:
    cmd: exec python -m make
    deps: [params.yaml]
    outs: [models/package]
  judge:
    cmd: exec python -m judge
    deps: [models/package]
    outs: [plots/judge]
    metrics:
    - metrics/judge.json: {cache: false}
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with one model that was promoted over a baseline, and signed."""
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    home = packaging(tmp_path / "home", DVC_YAML)
    git(home, "config", signing.SIGNING_KEY, str(key(tmp_path, "team")))
    monkeypatch.chdir(home)
    promoted(home)
    return home


def key(folder: Path, name: str) -> Path:
    """Write a pair of keys, NAME.pem and NAME.pub; return the private one."""
    private = ec.generate_private_key(ec.SECP256R1())
    pem = serialization.Encoding.PEM
    secret = (pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / f"{name}.pem").write_bytes(private.private_bytes(*secret))
    shown = private.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / f"{name}.pub").write_bytes(shown)
    return folder / f"{name}.pem"


def measured(right: float) -> Measured:
    correct = pl.Series("correct", np.arange(ROWS) < round(right * ROWS))
    ids = pl.Series("id", [f"{number:064x}" for number in range(ROWS)])
    return Measured(ids, {"accuracy": Statistic("accuracy", pl.DataFrame({"correct": correct}))})


def packages() -> None:
    folder = Path("models/package")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_text("weights\n")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n\n# tickets\n\nIt sorts tickets.\n")
    manifest = "".join(f"{digest}  {name}\n" for name, digest in digests(folder).items())
    (folder / "MANIFEST.sha256").write_text(manifest)


def judges() -> None:
    write(measured(0.9), Path("plots/judge/candidate.arrow"))
    write(measured(0.5), Path("plots/judge/other.arrow"))
    headline = {"name": "accuracy", "higher_is_better": True}
    scores = {"candidate": {"accuracy": 0.9}, "other": {"accuracy": 0.5}}
    write_json(
        Path("metrics/judge.json"),
        {"champion": None, "baseline": "tfidf", "rows": ROWS, "headline": headline, **scores},
    )


def promoted(home: Path) -> None:
    with chdir(home):
        ledger = Ledger(home)
        ledger.run_or_restore("package", packages)
        ledger.run_or_restore("judge", judges)
    kept = save(home, "sly-fox", "a run").commit
    git(home, "reset", "-q", "--hard")
    shutil.rmtree(home / "models")
    with candidate.candidate(home, kept, "sly-fox", quiet) as its:
        found = candidate.decided(home, its, quiet)
        assert found.verdict == "better"
        candidate.promoted(home, its, found, quiet, by="hand")


def forged(home: Path, change: Callable[[str], str], tag: str = f"{NAME}@v0.0.1") -> None:
    """Write a tag anew with another message."""
    text = git(home, "cat-file", "tag", tag)
    its = git(home, "mktag", given=f"{change(text)}\n")
    git(home, "update-ref", f"refs/tags/{tag}", its)


def checks(
    capsys: pytest.CaptureFixture[str], *, status: int, **options: str | Path | None
) -> dict[str, bool | None]:
    """Return what `retrain verify` says of each thing."""
    version = options.pop("version", "v0.0.1")
    assert verify(version, as_json=True, **options) == status  # type: ignore[arg-type]
    told = json.loads(capsys.readouterr().out)
    assert told["version"] == f"{NAME}@v0.0.1"
    return {one["what"]: one["is_right"] for one in told["checks"]}


def taken_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """Return the package of who has the stage, as `retrain models --get` writes it."""
    served = tmp_path / "served"
    assert models(get=STAGE, out=served) == 0
    assert f"{NAME}@v0.0.1 is in {served}" in capsys.readouterr().out
    return served


ALL_RIGHT = {"package": True, "manifest": True, "verdict": True, "signature": True}


def test_a_promoted_package_is_what_its_tag_says(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    public = tmp_path / "team.pub"
    assert checks(capsys, status=0) == {**ALL_RIGHT, "signature": None}
    assert checks(capsys, status=0, public_key=public) == ALL_RIGHT
    git(home, "config", signing.VERIFYING_KEY, str(public))
    assert checks(capsys, status=0, version="v0.0.1") == ALL_RIGHT
    assert checks(capsys, status=0, folder=taken_out(tmp_path, capsys)) == ALL_RIGHT
    assert checks(capsys, status=0, version=STAGE) == {**ALL_RIGHT, "stage": True}
    assert verify() == 0
    told = capsys.readouterr().out
    assert told.startswith(f"{NAME}@v0.0.1, sly-fox\n  package    right  sha256:")
    assert "  verdict    right  Better than the tfidf baseline" in told


@pytest.mark.slow
def test_what_signed_it_is_found_by_the_tool_of_the_ecosystem_too(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    served = taken_out(tmp_path, capsys)
    words = ("--signature", f"{served}.sig", "--public_key", str(tmp_path / "team.pub"))
    done = subprocess.run(
        ["python", "-m", "model_signing", "verify", "key", str(served), *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "succeeded" in done.stdout


@pytest.mark.parametrize(
    ("harm", "wrong"),
    [
        (lambda folder: (folder / "model.safetensors").write_text("other\n"), "package manifest signature"),
        (lambda folder: (folder / "model.safetensors").unlink(), "package manifest signature"),
        (lambda folder: (folder / "more.bin").write_text("more\n"), "package manifest signature"),
        (lambda folder: (folder / ".hidden").write_text("more\n"), "manifest signature"),
        (lambda folder: (folder / "MANIFEST.sha256").write_text("none\n"), "package manifest signature"),
        (lambda folder: (folder / "link").symlink_to("/etc/hostname"), "package manifest signature"),
        (lambda folder: (folder / "folder").symlink_to("/usr/share"), "manifest signature"),
    ],
)
def test_a_folder_that_was_touched_is_seen(
    home: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    harm: Callable[[Path], object],
    wrong: str,
) -> None:
    served = taken_out(tmp_path, capsys)
    harm(served)
    found = checks(capsys, status=1, folder=served, public_key=tmp_path / "team.pub")
    assert found == {what: what not in wrong.split() for what in ALL_RIGHT}


def test_another_key_has_not_signed_it(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key(tmp_path, "other")
    found = checks(capsys, status=1, public_key=tmp_path / "other.pub")
    assert found == {**ALL_RIGHT, "signature": False}
    assert verify(public_key=tmp_path / "other.pub") == 1
    assert f"not by the key of {tmp_path / 'other.pub'}: another key has made it" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (lambda text: text.replace('"difference": 0.4', '"difference": 0.5'), "verdict"),
        (lambda text: text.replace('"look": 1', '"look": 0'), "verdict"),
        (lambda text: text.replace('"look": 1', f'"look": 1{"0" * 400}'), "verdict"),
        (lambda text: text.replace('"verdict": "better"', '"verdict": "equivalent"'), "verdict"),
        (lambda text: text.replace('"package": "sha256:', '"package": "sha256:0000')[:-1], "package"),
        (lambda text: text.replace("dsseEnvelope", "envelope"), "signature"),
    ],
)
def test_a_tag_that_was_forged_is_seen(
    home: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[str], str],
    wrong: str,
) -> None:
    for tag in tags(home):
        forged(home, change, tag)
    public = tmp_path / "team.pub"
    assert verify("v0.0.1", as_json=True, public_key=public) == 1
    told = json.loads(capsys.readouterr().out)
    assert wrong in {one["what"] for one in told["checks"] if one["is_right"] is False}


def test_what_cannot_be_used_is_one_sentence(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "no.pem").write_text("no key\n")
    with pytest.raises(InputError, match=r"no\.pem is no public EC key in PEM \(.*\); name one that is"):
        verify(public_key=tmp_path / "no.pem")
    other = ed25519.Ed25519PrivateKey.generate()
    pem = serialization.Encoding.PEM
    shown = other.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "other.pub").write_bytes(shown)
    with pytest.raises(InputError, match=r"other\.pub is no public EC key in PEM but one of another kind"):
        verify(public_key=tmp_path / "other.pub")
    secret = (pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "other.pem").write_bytes(other.private_bytes(*secret))
    git(home, "config", signing.SIGNING_KEY, str(tmp_path / "other.pem"))
    with pytest.raises(InputError, match="it must be a private EC key in PEM"):
        signing.signature(home, tmp_path)
    with pytest.raises(InputError, match="--folder: there is no folder"):
        verify(folder=tmp_path / "nowhere")
    with pytest.raises(InputError, match="has no version 'v9'"):
        verify("v9")
    with pytest.raises(InputError, match="nobody has staging of tickets"):
        verify("staging")
    git(home, "config", signing.SIGNING_KEY, str(tmp_path / "no.pem"))
    with pytest.raises(
        InputError, match=r"retrain\.signingKey .*no\.pem: .*it must be a private EC key in PEM"
    ):
        signing.signature(home, tmp_path)


def again(
    home: Path, *, stage: str, force: bool = False, reason: str | None = None
) -> tuple[bool, tuple[str, ...]]:
    """Promote the run to a stage; return whether it took force, and what it was held for."""
    commit = read(home, NAME).versions[0].commit
    with candidate.candidate(home, commit, "sly-fox", quiet, stage=stage) as its:
        found = candidate.decided(home, its, quiet, force=force)
        forced = not found.allows("better")
        if force or not forced:
            candidate.promoted(home, its, found, quiet, by="hand", reason=reason)
    return forced, found.held


def test_a_stage_that_was_won_by_force_is_said_to_be_so(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert again(home, stage="staging") == (False, ())
    assert checks(capsys, status=0, version="staging")["stage"] is True
    tag = f"{NAME}#staging#1"
    for change, wrong in (
        (('"forced": false', '"forced": true'), None),
        (('"package": "sha256:', '"package": "sha256:0'), False),
        (('"verdict": "better"', '"verdict": "worse"'), False),
    ):
        before = git(home, "rev-parse", f"refs/tags/{tag}")
        forged(home, lambda text, change=change: text.replace(*change), tag)  # type: ignore[misc]
        found = checks(capsys, status=0 if wrong is None else 1, version="staging")
        assert (found["verdict"], found["stage"]) == (True, wrong)
        git(home, "update-ref", f"refs/tags/{tag}", before)


def test_a_look_that_was_taken_later_than_the_tag_says_is_seen(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ref = f"{looks.REF}/{NAME}"
    git(home, "update-ref", "-d", ref)
    digest = str(read(home, NAME).versions[0].record.package)
    ids = [f"{number:064x}" for number in range(ROWS)]
    looks.take(home, NAME, "sha256:" + "e" * 64, "baseline tfidf", ids)
    looks.take(home, NAME, digest, "baseline tfidf", ids)
    assert checks(capsys, status=1)["verdict"] is False


def test_what_somebody_has_refused_takes_force(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for tag in tags(home):
        git(home, "update-ref", "-d", f"refs/tags/{tag}")
    (commit,) = git(home, "for-each-ref", "--format=%(objectname)", "refs/exps").split()
    with candidate.candidate(home, commit, "sly-fox", quiet) as its:
        found = candidate.decided(home, its, quiet)
        candidate.refused(home, its, found, quiet, by="Ann", reason="it shouts")
    why = f"{NAME}@v0.0.1 was refused by Ann: it shouts"
    assert again(home, stage=STAGE) == (True, (why,))
    with candidate.candidate(home, commit, "sly-fox", quiet) as its:
        assert candidate.decided(home, its, quiet, asks=True).held == (), "somebody may be asked anew"
    assert read(home, NAME).champion(NAME, STAGE) is None
    assert again(home, stage=STAGE, force=True, reason="it no longer does") == (True, (why,))
    won = read(home, NAME).champion(NAME, STAGE)
    assert won is not None
    assert won.record.forced
    assert verify() == 0
    told = capsys.readouterr().out
    assert "  verdict    right  Better than the tfidf baseline" in told
    assert "It was refused by Ann: it shouts" in told
    assert "  stage      -      tickets#prod#1: forced by " in told


def test_what_the_statistics_say_instead_is_told_in_words(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forged(home, lambda text: text.replace('"verdict": "better"', '"verdict": "worse"'))
    assert verify("v0.0.1") == 1
    told = capsys.readouterr().out
    assert "WRONG  the run's statistics say something else: Better than the tfidf baseline: accuracy" in told


def test_nothing_is_written_over_a_folder_that_is_there(home: Path) -> None:
    for out in (Path(), Path("/"), home / "dvc.yaml"):
        with pytest.raises(InputError, match="is there already; give a folder that is not"):
            models(get=STAGE, out=out)


def test_a_folder_that_cannot_be_written_is_a_sentence(home: Path) -> None:
    with pytest.raises(InputError, match=r"^--out: .*: Not a directory; give a folder that you may write$"):
        models(get=STAGE, out=home / "dvc.yaml/served")


def test_a_package_that_nobody_hears_of_has_its_signature(home: Path, tmp_path: Path) -> None:
    with pytest.raises(BrokenPipeError), unread():
        models(get=STAGE, out=tmp_path / "served")
    assert (tmp_path / "served.sig").is_file()


def test_others_hear_of_a_promotion_that_nobody_reads(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    git(home, "tag", "-d", *tags(home))
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    with pytest.raises(BrokenPipeError), unread():
        promote("sly-fox")
    assert "nobody is told of it: no Prefect server answers" in capsys.readouterr().err
    assert f"{NAME}@v0.0.1" in tags(home)


def test_a_key_may_have_a_password(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private = serialization.load_pem_private_key((tmp_path / "team.pem").read_bytes(), None)
    locked = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"open"),
    )
    (tmp_path / "team.pem").write_bytes(locked)
    package = tmp_path / "package"
    package.mkdir()
    (package / "a").write_text("a")
    with pytest.raises(InputError, match="where it has a password, RETRAIN_SIGNING_PASSWORD gives it"):
        signing.signature(home, package)
    monkeypatch.setenv(signing.PASSWORD, "open")
    its = signing.signature(home, package)
    assert its is not None
    assert signing.why_unsigned(package, its, tmp_path / "team.pub") is None


def test_nothing_is_signed_where_nobody_asked_for_it(home: Path, tmp_path: Path) -> None:
    git(home, "config", "--unset", signing.SIGNING_KEY)
    assert signing.signature(home, tmp_path) is None


def test_the_card_of_a_version_says_what_the_registry_knows(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert models(card=STAGE) == 0
    card = capsys.readouterr().out
    assert "# tickets\n\n**Version v0.0.1** in **prod**: commit `" in card
    assert ", run `sly-fox`.\n" in card
    assert card.index("Better than the tfidf baseline") < card.index("It sorts tickets.")
    digest = read(home, NAME).versions[0].record.package
    assert f"The package's SHA-256 is `{digest}`, and it is signed." in card
