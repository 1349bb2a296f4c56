"""Two thousand experiments in one repository: seconds of the commands that look at all of them.

A fresh clone trains one step, and its experiments are copies of that run which differ as trainings by other
learning rates do: in params.yaml, dvc.lock and metrics/*.json. `git fast-import` writes them at once.
"""

import random
import re
import subprocess
import sys

from benchmarks.clones import fresh_clone, seconds
from benchmarks.measure import Options, Table
from tests.support.project import Project

EXPERIMENTS = 2000
MADE = 1_700_000_000
# run in the clone: what a run does at its end, and how long each part takes
SAVING = """
import sys, time
from pathlib import Path
from flows.git.commands import git
from flows.ledger.experiments import save_tree
from flows.ledger.history import last_run
root = Path.cwd()
lock = root / "dvc.lock"
text = lock.read_text("utf-8")
lock.write_text(text.replace(sys.argv[1], sys.argv[2]), "utf-8")
git(root, "add", "dvc.lock")
tree = git(root, "write-tree")
began = time.perf_counter()
saved = save_tree(root, tree, "measured", "a run that is measured")
saving = time.perf_counter() - began
began = time.perf_counter()
last = last_run(root, saved, {})
print(saving, time.perf_counter() - began)
git(root, "update-ref", "-d", f"refs/exps/{saved.baseline[:2]}/{saved.baseline[2:]}/{saved.name}")
git(root, "reset", "--hard", "--quiet")
"""


def measure(options: Options) -> list[Table]:
    """Return one table."""
    count = options.repeat or EXPERIMENTS
    title = f"Seconds of commands with one experiment and with {count:,}"
    table = Table(title, ("what", "1", f"{count:,}"))
    with fresh_clone() as project:
        project.retrain("--train.max-steps", "1")
        project.run("git", "add", "--force", "dvc.lock", "metrics", "params.yaml")
        project.run("git", "commit", "--quiet", "--message", "a run")
        populate(project, 1)
        few = timed(project)
        populate(project, count - 1, first=1)
        many = timed(project)
        project.run("git", "pack-refs", "--all")
        packed = timed(project)
    table.columns = ("what", "1", f"{count:,}", f"{count:,}, refs packed")
    for name, value in few.items():
        table.rows.append([name, f"{value:.2f}", f"{many[name]:.2f}", f"{packed[name]:.2f}"])
    return [table]


def populate(project: Project, count: int, first: int = 0) -> None:
    """Write experiments on top of HEAD."""
    head = project.run("git", "rev-parse", "HEAD").stdout.strip()
    files = ["params.yaml", "dvc.lock", "metrics/evaluate.json"]
    texts = {name: (project.root / name).read_text("utf-8") for name in files}
    stream = bytearray()
    for number in range(first, first + count):
        stream += experiment(head, number, texts)
    subprocess.run(
        ["git", "fast-import", "--quiet"], cwd=project.root, env=project.env, input=bytes(stream), check=True
    )


def experiment(head: str, number: int, texts: dict[str, str]) -> bytes:
    """Return what fast-import reads of one experiment."""
    chance = random.Random(number)  # noqa: S311 (no secret)
    rate = f"{chance.uniform(1e-5, 1e-3):.8f}"
    lock = texts["dvc.lock"]
    made = lock.index("  train:") if "\n  train:" in lock else 0
    digest = re.compile(r"md5: [0-9a-f]{32}")
    # what the stages before training made is the same; what it made itself is read by those behind it
    known = set(digest.findall(lock[:made]))
    others = {one: f"md5: {chance.randbytes(16).hex()}" for one in sorted(set(digest.findall(lock)) - known)}
    changed = {
        "params.yaml": re.sub(r"learning_rate: \S+", f"learning_rate: {rate}", texts["params.yaml"]),
        "dvc.lock": digest.sub(lambda found: others.get(found[0], found[0]), lock),
        "metrics/evaluate.json": re.sub(
            r'"macro_f1": [\d.]+', f'"macro_f1": {chance.random():.4f}', texts["metrics/evaluate.json"]
        ),
    }
    changed["dvc.lock"] = re.sub(r"learning_rate: \S+", f"learning_rate: {rate}", changed["dvc.lock"])
    who = f"committer retrain <retrain@localhost> {MADE + 60 * number} +0000"
    message = f"retrain: flow run made-{number}"
    parts = [f"commit refs/exps/{head[:2]}/{head[2:]}/made-{number}", who, f"data {len(message)}", message]
    text = "\n".join([*parts, f"from {head}", ""]).encode()
    for name, content in changed.items():
        data = content.encode()
        text += f"M 100644 inline {name}\ndata {len(data)}\n".encode() + data + b"\n"
    return text


def timed(project: Project) -> dict[str, float]:
    """Return how many seconds each command takes."""
    digest = re.findall(r"md5: ([0-9a-f]{32})", (project.root / "dvc.lock").read_text("utf-8"))[-1]
    found = {
        "retrain models": seconds(project, "flows", "models"),
        "retrain status": seconds(project, "flows", "status"),
        "retrain gc --dry-run": seconds(project, "flows", "gc", "--dry-run"),
        "retrain run, nothing changed": seconds(project, "flows", "run", "--train.max-steps", "1"),
    }
    done = project.run(sys.executable, "-c", SAVING, digest, "0" * 32, timeout=3600)
    saving, comparing = map(float, done.stdout.split()[-2:])
    found |= {"saving a run": saving, "finding the last run to compare with": comparing}
    found["dvc exp list --all-commits"] = seconds(project, "dvc", "exp", "list", "--all-commits")
    found["dvc exp show"] = seconds(project, "dvc", "exp", "show", "--csv")
    found["dvc exp show, again"] = seconds(project, "dvc", "exp", "show", "--csv")
    return {name: round(value, 3) for name, value in found.items()}
