"""Every command that README, the pages in docs, `--help` and errors name is run, or stands below with what it needs.

Commands run as they are spelled, in a clone that has what they speak of (NAME, ../support.csv, ...), through bash.
Of a training the plan is made, and of a make target what it would do: what they start is tested elsewhere.
"""

import ast
import inspect
import os
import re
import shlex
import shutil
from pathlib import Path

import pytest

from flows.cli import app
from flows.cli.options import written_out
from flows.ledger.sources import to_add
from tasks.shared.params import Params
from tests.support.forking import forking
from tests.support.project import FORKED, ROOT, Once, Project, copy_of, tiny

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
    r"\b(REV|COMMIT)\b|{commit}|{revision}": "main",
    r"\bSOURCE\b": "../support.csv",
    r"\bRUN\b": "kept",
    "{tag}": "ticket-intents#prod#1",
    "{REF}": "refs/retrain/looks",
    "{remote}": "origin",
    "{output}": "data/raw/unknown.csv",
    "{place}": ".dvc/cache/planted",
    "distilbert/distilbert-base-uncased": "base",
    "google/vit-base-patch16-224": "base",
    "git clone URL": "git clone ../origin.git",
    # the question is answered
    r"^(dvc gc (?!.*--dry).*)": r"\1 --force",
    # what they do is looked at, not done
    r"^make ": "make -n ",
    r"^retrain run (?!--help|--once$)(.+?)( &)?$": r"retrain plan \1",
    "^python -m pytest .*": r"\g<0> --collect-only -q",
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
    "PATH/TO": "a published data set; the tests of its problem read it",
    r"^python serve\.py": "a package that no pipeline serves; the tests of its problem run it",
    "^retrain reproduce": "a training; test_isolated runs it",
    "^dvc exp run": "a training; test_readme runs it",
    "^retrain seeds": "five trainings; test_seeds",
    "^retrain sweep": "many trainings; test_sweep",
    "^retrain promote(?!.*--force)": "a model that is proven; test_promotion",
    "^retrain verify": "a model that is proven; test_verification",
    "^ray ": "several machines, and a token in the home of the user; test_ray has a cluster of its own",
    "^python -m model_signing": "a package that is signed; test_verification runs it",
    "^retrain add (s3|remote|hf):": "S3, a web server or a hub; test_remotes, test_secrets, test_hub",
    "^sqlite3|^pg_|^dropdb": "a database of Prefect's; test_postgresql",
    "^prefect server database": "Prefect's own database; the fixture `prefect_home` runs it",
    "ssh://|NEW-URL|^git remote update|^git clone --mirror": "a Git server",
    "^git lfs": "git-lfs, and a hub",
    r"flows\.server\.worker worker start": "a Prefect server; test_schedule, test_remote_worker",
    r"^python -m flows\.server\.guard": "a port, and a process that stays; test_guard",
    r"^python -m flows\.trackers": "a stage that has something to tell; test_tracking",
    "^mkdir work": "another machine",
    "--global": "the user's own settings, which a test leaves alone",
    "^dvc artifacts get$": "words about a command",
    "^dvc (import-url|remote add|remote modify|add|update|config exp.git_remote)$": "words about a command",
    "^git (commit|add|add --intent-to-add|pull|diff --exit-code|update-ref)$": "words about a command",
    "^dvc gc( --cloud)?$|^retrain (<|add$)": "words about a command",
    "^dvc gc .*--projects": "another checkout, which shares the cache",
}

PROMOTED = " && ".join(
    f"gto assign ticket-intents main{commit} --stage prod --version {version}"
    for commit, version in (("~1", "v0.0.1"), ("", "v0.0.2"))
)
# what a reader has done before
BEFORE = {
    "^dvc remote add -d team": "dvc remote remove team",
    "^dvc remote modify --local team": "dvc remote modify team url s3://bucket/retrain",
    "^dvc remote modify --local store": "dvc remote add --local store https://host/exports",
    r"^git add \.dvc/config": "dvc config exp.auto_push true",
    "^git push .* --delete refs/retrain/looks/": "git push -q origin main:refs/retrain/looks/kept",
    "^git push origin refs/notes/retrain|^git notes": "git notes --ref=retrain add -m certificate main",
    "^sha256sum": "cd models/package",
    "{place}": "touch .dvc/cache/planted && git add --force .dvc/cache/planted && git commit -qm planted",
    "^git fetch origin": "git checkout -q --detach",
    # by GTO itself, whose tags are read as ours are
    r"^retrain rollback|^retrain models .*--(get|card)|^dvc artifacts get \.|^git tag -d '": PROMOTED,
    "^dvc update": "retrain add ../support.csv imported.csv",
    "^rm -r": "mkdir -p .dvc/cache/sent",
    r"\.\./photos": "mkdir -p ../photos/cat && printf picture > ../photos/cat/1.png",
    r"reviews\.csv": "printf 'text,stars\\nfine,3\\n' > ../reviews.csv",
    "--problem text_rating": "cp -r examples/problems/text_rating tasks/problems/ && printf 'text,number\\nfine,3\\n' > data/raw/ratings.csv",
}


# what people are told; decisions are for those who change the project
FILES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES = {file.name: file.read_text("utf-8") for file in FILES if file.name != "decisions.md"}


def spelled() -> dict[str, str]:
    """Return all commands that users are told to type, each with where."""
    found: dict[str, str] = {}
    for page, text in PAGES.items():
        for command in in_page(text):
            found.setdefault(command, page)
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
            found += [
                re.sub(r"\s+# .*", "", line)
                for line in lines.replace("\\\n", " ").splitlines()
                if line.strip()
            ]
    return found + in_sentences(block.sub("", text))


def in_sentences(text: str) -> list[str]:
    """Return what stands in backticks and begins with a program."""
    return [
        code.replace("\n", " ")
        for code in re.findall(r"`([^`]+)`", text)
        if COMMAND.fullmatch(code.replace("\n", " "))
    ]


def in_help() -> list[str]:
    """Return the examples of all commands of `retrain`."""
    commands = [app.app[name].default_command for name in app.app if not name.startswith("-")]
    found: list[str] = []
    for command in commands:
        found += in_sentences(inspect.getdoc(command) or "")
    return found


def in_errors(file: Path) -> list[str]:
    """Return the commands that the file's errors name as a remedy; what is put in there at run time stays {in braces}."""
    found: list[str] = []
    for function in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(function, ast.FunctionDef) and any(map(is_error, ast.walk(function))):
            # a part of the sentence may have a name of its own
            for node in ast.walk(function):
                if is_error(node) or isinstance(node, ast.Assign):
                    found += in_sentences(re.sub(r"{to_add\(\w+\)}", to_add("SOURCE"), text_of(node)))
    return found


def is_error(node: ast.AST) -> bool:
    """Tell whether this makes an error that people read."""
    return isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("InputError", "StageFailedError")


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
def furnished(once: Once, computed: Project, python: Path) -> Project:
    """A clone that has what the commands speak of: experiments, remotes, data outside; to be copied, not changed."""
    folder = once("furnished", lambda folder: furnish(forking(copy_of(computed, folder), python)))
    return forking(tiny(folder / "project"), python)


def furnish(project: Project) -> None:
    """Make two experiments, a Git remote, a DVC remote, data outside and inside, and a `retrain` that is this clone's own."""
    folder, root = project.root.parent, project.root
    (folder / "bin").mkdir()
    for name, module in (("retrain", "flows"), ("dvc", "dvc")):
        program = folder / "bin" / name
        program.write_text(f'#!/bin/sh\nexec python -m {module} "$@"\n', encoding="utf-8")
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
        params.write_text(
            re.sub(r"name: [\w-]*intents\w*", f"name: intents_{name}", params.read_text("utf-8")),
            encoding="utf-8",
        )
        project.dvc("exp", "save", "-n", name)
    project.run("git", "push", "-q", "origin", "refs/exps/*:refs/exps/*")
    project.run("git", "checkout", "-q", ".")
    shutil.copyfile(folder / "support.csv", root / "data/raw/unknown.csv")


RUN = [
    # a newcomer's first, and all in `make test-all`
    pytest.param(
        command, id=f"{page}: {command}", marks=() if page.startswith("README.md") else pytest.mark.slow
    )
    for command, page in SPELLED.items()
    if not need(command)
]


@pytest.mark.parametrize("command", RUN)
def test_a_command_that_users_are_told_to_type_works(
    furnished: Project, tmp_path: Path, command: str
) -> None:
    there = shutil.copytree(furnished.root.parent, tmp_path / "there", symlinks=True)
    programs = {"PATH": f"{there / 'bin'}{os.pathsep}{furnished.env['PATH']}"}
    project = Project(there / "project", tiny(there / "project").env | programs | FORKED)
    done = project.run("bash", "-euo", "pipefail", "-c", typed(command), status=None)
    assert done.returncode == 0, f"{typed(command)}\n{done.stdout}\n{done.stderr}"
    if command.startswith("git log"):
        assert done.stdout.strip(), "it finds something"


COMMANDS = [name for name in app.app if not name.startswith("-")]


def options(command: str) -> set[str]:
    """Return the options that `--help` of a command of `retrain` lists, params among them."""
    arguments = app.app[command].assemble_argument_collection()
    return {name for argument in arguments for name in argument.names if name.startswith("--")}


def test_every_option_that_the_pages_name_is_in_help() -> None:
    known = set.union(*map(options, COMMANDS))
    named = re.compile(r"--(?:data|split|train|model|ingest|tokenize|evaluate|package)\.\w[\w-]*")
    for page, text in PAGES.items():
        for option in named.findall(text):
            (_, written) = written_out(["run", option])
            assert written.replace("_", "-") in known, f"{page}: {option}"


@pytest.mark.parametrize(
    "command", [command for command in SPELLED if re.match(r"retrain [a-z]", command) and need(command)]
)
def test_a_command_of_retrain_that_is_not_run_here_has_the_options_that_help_lists(command: str) -> None:
    name, *words = written_out(shlex.split(command)[1:])
    assert name in COMMANDS
    assert {word for word in words if word.startswith("--")} <= options(name) | {"--help"}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_option_in_help_is_explained_on_a_page(command: str) -> None:
    whole = "\n".join(PAGES.values())
    assert f"retrain {command}" in whole
    # a param is explained in params.yaml's schema, of which the form and the command line are made
    own = {option for option in options(command) if "." not in option} - {
        f"--{name.replace('_', '-')}" for name in Params.model_fields
    }
    assert [option for option in sorted(own) if not re.search(rf"{option}\b", whole)] == []


def test_every_reason_why_a_command_is_not_run_here_is_still_needed() -> None:
    for pattern in ELSEWHERE:
        assert any(re.search(pattern, command) for command in SPELLED), pattern
