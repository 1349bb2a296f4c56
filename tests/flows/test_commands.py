"""Every command that README, the pages in docs, `--help` and errors name is run, or stands below with what it needs.

Commands run as they are spelled, in a clone that has what they speak of (NAME, ../support.csv, ...), through bash.
Of a training the plan is made, and of a make target what it would do: what they start is tested elsewhere.
"""

import ast
import inspect
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from flows.cli import app
from flows.ledger.sources import to_add
from tests.support.project import ROOT, Once, Project, copy_of, tiny

PROGRAMS = "retrain|dvc|git|prefect|make|docker|pip|pytest|python|python3|sqlite3|sha256sum|export"
COMMAND = re.compile(rf"(?:[A-Z_]+=\S+ )*(?:{PROGRAMS}) \S.*")

# what a reader puts in, and what it is here
MEANT = {
    r"NAME \.\.\.": "kept",
    r"\[NAME\]": "again.csv",
    r"NAME\.dvc": "imported.csv.dvc",
    r"--model\.name NAME": "--model.name base",
    r"-n NAME": "-n another",
    r"\bBRANCH": "kept-branch",
    r"\bNAME\b|{experiment\.name}|{name}": "kept",
    r"\bOTHER\b": "other",
    r"\b(REV|COMMIT)\b|{commit}": "main",
    r"\bSOURCE\b": "../support.csv",
    "{output}": "data/raw/unknown.csv",
    "{place}": ".dvc/cache/planted",
    "distilbert/distilbert-base-uncased": "base",
    "git clone URL": "git clone ../origin.git",
    # the question is answered
    r"^(dvc gc (?!.*--dry).*)": r"\1 --force",
    # what they do is looked at, not done
    r"^make ": "make -n ",
    r"^retrain run (?!--help|--once$)(.+?)( &)?$": r"retrain plan \1",
    r"^python -m tests\.soak": "python -m tests.soak --help",
    r"^python -m tests\.campaign": "python -m tests.campaign --help",
    "^python -m benchmarks.*": "python -m benchmarks --help",
}

# what some need that a clone without network, server and GPU does not have
ELSEWHERE = {
    "^docker |exec -T database": "docker; test_deploy reads and builds what it can",
    "pip install": "a package registry",
    "prefect .*deploy|prefect (deployment|work-pool|worker|event)": "a Prefect server; test_remote_worker, test_schedule",
    "retrain (up|down)(?! --help)": "ports, and processes that stay; test_schedule and test_ui run them",
    "^retrain reproduce": "a training; test_isolated runs it",
    "^dvc exp run": "a training; test_readme runs it",
    "^retrain add (s3|remote):": "S3, or a web server; test_remotes, test_secrets",
    "^sqlite3|^pg_|^dropdb": "a database of Prefect's; test_postgresql",
    "^prefect server database": "Prefect's own database; the fixture `prefect_home` runs it",
    "ssh://|NEW-URL|^git remote update|^git clone --mirror": "a Git server",
    "^git lfs": "git-lfs, and a hub",
    r"^python -m flows\.server\.guard": "a port, and a process that stays; test_guard",
    "^mkdir work": "another machine",
    "--global": "the user's own settings, which a test leaves alone",
    "^dvc (import-url|remote add|remote modify|add|update|config exp.git_remote)$": "words about a command",
    "^git (commit|add|add --intent-to-add|pull|diff --exit-code|update-ref)$": "words about a command",
    "^dvc gc( --cloud)?$|^retrain (<|add$)": "words about a command",
    "^dvc gc .*--projects": "another checkout, which shares the cache",
}

# what a reader has done before
BEFORE = {
    "^dvc remote add -d team": "dvc remote remove team",
    "^dvc remote modify --local team": "dvc remote modify team url s3://bucket/retrain",
    "^dvc remote modify --local store": "dvc remote add --local store https://host/exports",
    r"^git add \.dvc/config": "dvc config exp.auto_push true",
    "^git push origin refs/notes/retrain|^git notes": "git notes --ref=retrain add -m certificate main",
    "^sha256sum": "cd models/package",
    "{place}": "touch .dvc/cache/planted && git add --force .dvc/cache/planted && git commit -qm planted",
    "^git fetch origin": "git checkout -q --detach",
    "^dvc update": "retrain add ../support.csv imported.csv",
    "^rm -r": "mkdir -p .dvc/cache/sent",
}


def spelled() -> dict[str, str]:
    """Return all commands that users are told to type, each with where."""
    found: dict[str, str] = {}
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    for page in pages:
        if page.name != "decisions.md":
            for command in in_page(page.read_text("utf-8")):
                found.setdefault(command, page.name)
    for command in in_help():
        found.setdefault(command, "--help")
    for folder in ("flows", "tasks"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            for command in in_errors(file):
                found.setdefault(command, str(file.relative_to(ROOT)))
    return found


def in_page(text: str) -> list[str]:
    """Return the lines of a page's shell blocks, and the code in its sentences that begins with a program."""
    block = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
    found = []
    for language, lines in block.findall(text):
        if language in ("bash", "sh"):
            found += [re.sub(r"\s+# .*", "", line) for line in lines.replace("\\\n", " ").splitlines() if line.strip()]
    return found + in_sentences(block.sub("", text))


def in_sentences(text: str) -> list[str]:
    """Return what stands in backticks and begins with a program."""
    return [code.replace("\n", " ") for code in re.findall(r"`([^`]+)`", text) if COMMAND.fullmatch(code.replace("\n", " "))]


def in_help() -> list[str]:
    """Return the examples of all commands of `retrain`."""
    commands = [app.app[name].default_command for name in app.app if not name.startswith("-")]
    found: list[str] = []
    for command in commands:
        found += in_sentences(inspect.getdoc(command) or "")
    return found


def in_errors(file: Path) -> list[str]:
    """Return the commands that the file's errors name as a remedy; what is put in there at run time stays {in braces}."""
    found = []
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("InputError", "StageFailedError"):
            found += in_sentences(re.sub(r"{to_add\(\w+\)}", to_add("SOURCE"), text_of(node)))
    return found


def text_of(node: ast.AST) -> str:
    """Return all text inside an expression, in its order."""
    if isinstance(node, ast.FormattedValue):
        return f"{{{ast.unparse(node.value)}}}"
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    return "".join(text_of(child) for child in ast.iter_child_nodes(node))


def need(command: str) -> str | None:
    """Return what a command needs that there is not here."""
    return next((why for pattern, why in ELSEWHERE.items() if re.search(pattern, command)), None)


def typed(command: str) -> str:
    """Return a command with everything put in, and before it what a reader has done by then."""
    before = [first for pattern, first in BEFORE.items() if re.search(pattern, command)]
    for pattern, word in MEANT.items():
        command = re.sub(pattern, word, command)
    return " && ".join([*before, command])


SPELLED = spelled()


@pytest.fixture(scope="session")
def furnished(once: Once, computed: Project) -> Project:
    """A clone that has what the commands speak of: experiments, remotes, data outside; to be copied, not changed."""
    return tiny(once("furnished", lambda folder: furnish(copy_of(computed, folder))) / "project")


def furnish(project: Project) -> None:
    """Make two experiments, a Git remote, a DVC remote, data outside and inside, and a `retrain` that is this clone's own."""
    folder, root = project.root.parent, project.root
    program = folder / "bin/retrain"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nexec python -m flows "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    tickets = (root / "data/raw/tickets.csv").read_text("utf-8")
    header, rows = tickets.split("\n", 1)
    for outside in (folder / "support.csv", folder / "exports/support.csv"):
        outside.parent.mkdir(exist_ok=True)
        outside.write_text(f"{header.replace('text,label', 'message,intent')}\n{rows}", encoding="utf-8")
    banking = folder / "banking77"
    banking.mkdir()
    for name in ("train.csv", "test.csv"):
        (banking / name).write_text(f"text,category\n{rows}", encoding="utf-8")
    project.run("git", "branch", "-M", "main")
    project.run("git", "init", "-q", "--bare", "-b", "main", str(folder / "origin.git"))
    project.run("git", "remote", "add", "origin", "../origin.git")
    project.run("git", "push", "-q", "origin", "main")
    project.dvc("remote", "add", "-d", "team", str(folder / "store"))
    project.run("git", "commit", "-qam", "a remote")
    for name in ("kept", "other"):
        params = root / "params.yaml"
        params.write_text(re.sub(r"name: [\w-]*intents\w*", f"name: intents_{name}", params.read_text("utf-8")), encoding="utf-8")
        project.dvc("exp", "save", "-n", name)
    project.run("git", "push", "-q", "origin", "refs/exps/*:refs/exps/*")
    project.run("git", "checkout", "-q", ".")
    shutil.copyfile(folder / "support.csv", root / "data/raw/unknown.csv")


RUN = [pytest.param(command, id=f"{where}: {command}") for command, where in SPELLED.items() if not need(command)]


@pytest.mark.parametrize("command", RUN)
def test_a_command_that_users_are_told_to_type_works(furnished: Project, tmp_path: Path, command: str) -> None:
    copied = shutil.copytree(furnished.root.parent, tmp_path / "there", symlinks=True) / "project"
    project = tiny(copied)
    project.env["PATH"] = f"{copied.parent / 'bin'}{os.pathsep}{project.env['PATH']}"
    done = project.run("bash", "-euo", "pipefail", "-c", typed(command), status=None)
    assert done.returncode == 0, f"{typed(command)}\n{done.stdout}\n{done.stderr}"
    if command.startswith("git log"):
        assert done.stdout.strip(), "it finds something"


def test_every_option_that_the_pages_name_exists(computed: Project) -> None:
    known = computed.run("env", "COLUMNS=300", sys.executable, "-m", "flows", "run", "--help").stdout
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        if page.name != "decisions.md":
            for section, name in re.findall(r"--(data|split|train|model|ingest|package)\.([\w-]+)", page.read_text("utf-8")):
                assert f"--{section}.{name.replace('_', '-')}" in known, f"{page.name}: --{section}.{name}"


def test_every_reason_why_a_command_is_not_run_here_is_still_needed() -> None:
    for pattern in ELSEWHERE:
        assert any(re.search(pattern, command) for command in SPELLED), pattern
