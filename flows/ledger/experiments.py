"""Experiments: what a run leaves in Git beside the branch, under refs/exps, where `dvc exp` finds it."""

import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import funcy
from dvc.config import Config
from dvc.dvcfile import LOCK_FILE
from dvc.env import DVC_EXP_GIT_REMOTE
from dvc.repo import Repo
from dvc.repo.experiments.collect import collect_rev
from dvc.repo.experiments.refs import EXPS_NAMESPACE, ITER_SKIP_NAMESPACES, STASHES, ExpRefInfo

from flows.git.commands import commit_of, git, identity, names
from flows.git.objects import kinds
from flows.git.refs import RUNNING, at, change, changing, commit_at, remove_ref, set_ref
from flows.git.remotes import RefusedError, UnreachableError, asked, fetch, send
from flows.git.signatures import signing
from flows.git.uncommitted import LOCAL_CONFIG
from flows.ledger.remote import TRIES, is_shared
from flows.ledger.results import Experiment
from tasks.shared.errors import InputError, readable, without_password
from tasks.shared.say import Say

# the trailer of an experiment's commit that names a file Git did not track, as JSON
UNTRACKED = "Untracked"
# beside refs/exps: the experiments that the Git remote does not have yet
UNSENT = "refs/retrain/unsent"
# hexadecimal digits of a commit behind the name of an experiment, where others have another one of its name
SHORT = 7
# a name is shown in commands that people copy: no option, nothing that a shell or Markdown reads
REF = re.compile(r"/([0-9a-f]{2})/([0-9a-f]{38}|[0-9a-f]{62})/(\w[\w.+@=,#-]*)")


def experiments(checkout: Path, say: Say = lambda _: None, where: str = EXPS_NAMESPACE) -> list[Experiment]:
    """Return all experiments of the repository, the newest first, runs under way left out.

    What others have pushed beside them is passed over, and said.

    where: the namespace of refs in which they are.
    """
    skipped = tuple(ITER_SKIP_NAMESPACES)
    named = at(checkout, where)
    newest_first = {commit: number for number, commit in enumerate(_commits(checkout, [*named.values()]))}
    found = []
    for ref, commit in named.items():
        if ref in STASHES or ref.startswith(skipped):
            continue
        if ref.endswith(RUNNING):
            continue
        parts = REF.fullmatch(ref.removeprefix(where))
        if parts is not None and commit in newest_first:
            found.append(Experiment(parts[3], commit, parts[1] + parts[2]))
        else:
            shown = shlex.quote(ref.encode("ascii", "backslashreplace").decode())
            say(f"passed over what is no experiment: {shown}; `git update-ref -d {shown}` removes it")
    return sorted(found, key=lambda experiment: newest_first[experiment.commit])


def _commits(checkout: Path, objects: Sequence[str]) -> list[str]:
    """Return those of the objects that are commits, the newest first."""
    commits = [name for name, kind in kinds(checkout, objects) if kind == "commit"]
    if not commits:
        return []
    asked = "\n".join([*commits, ""])
    return git(checkout, "rev-list", "--no-walk=sorted", "--stdin", given=asked).splitlines()


def commit_named(checkout: Path, revision: str) -> str:
    """Return the commit of an experiment, commit, branch or tag.

    Raises InputError when there is none, and when experiments that others have sent share the name.
    """
    commits = [one.commit for one in experiments(checkout) if one.name == revision]
    if len({*commits}) > 1:
        which = ", ".join(commit[:10] for commit in commits)
        raise InputError(
            f"{len(commits)} experiments are called '{revision}'; give the commit of one: {which}"
        )
    return commits[0] if commits else commit_of(checkout, revision)


def commits_of(checkout: Path, name: str) -> list[str]:
    """Return the commits that may be the one a run has kept under a name, the newest first.

    Others may have experiments of that name; and where they had, its own was sent under another.
    """
    found = experiments(checkout)
    return [one.commit for one in found if one.name in (name, _beside(name, one.commit))]


def save(
    workspace: Path,
    name: str,
    message: str,
    *,
    leave_out: Sequence[str] = (),
    untracked: Sequence[str] = (),
) -> Experiment:
    """Commit a workspace as an experiment on top of its HEAD; return it.

    When its HEAD, or an experiment that is there already, has the very same dvc.lock, that one is returned:
    it records the same inputs, params, code and outputs. `dvc exp save` is not used because it would hash
    every output again, needs them all checked out, and meets other runs on refs that they share; the
    reference written here is the one it would write.

    leave_out: paths whose content is not the experiment's. untracked: files in it that the checkout does not
    track.
    """
    # Git refuses to leave out by name what it ignores already
    is_ignored = not names(workspace, "ls-files", "--others", "--exclude-standard", "-z", "--", LOCAL_CONFIG)
    git(workspace, "add", "--all", "--", ".", *(() if is_ignored else (f":(exclude){LOCAL_CONFIG}",)))
    for path in leave_out:
        git(workspace, "--literal-pathspecs", "reset", "--quiet", "HEAD", "--", path)
    return save_tree(workspace, git(workspace, "write-tree"), name, message, untracked=untracked)


def save_tree(
    workspace: Path, tree: str, name: str, message: str, *, untracked: Sequence[str] = ()
) -> Experiment:
    """Commit a tree that holds a dvc.lock as `save` does."""
    baseline = git(workspace, "rev-parse", "HEAD")
    mine = git(workspace, "rev-parse", "--verify", f"{tree}:./{LOCK_FILE}")
    trailers = [f"{UNTRACKED}: {json.dumps(path)}" for path in untracked]
    told = "\n\n".join([message, *(["\n".join(trailers)] if trailers else [])])
    words = ("commit-tree", *signing(workspace), tree, "-p", baseline, "-F", "-")
    commit = git(workspace, *words, env=identity(workspace), given=told)
    # alone, so that of equal runs that end at once one is kept
    with changing(workspace):
        while True:
            others = experiments(workspace)
            known = [Experiment(baseline[:10], baseline, baseline), *others]
            for other, lock in zip(known, _locks(workspace, known), strict=True):
                if lock == mine:
                    return replace(other, is_new=False)
            free = _free(name, {other.name for other in others})
            if set_ref(workspace, str(ExpRefInfo(baseline, free)), commit, None):
                return Experiment(free, commit, baseline)


def keep_for_show(checkout: Path, experiment: Experiment) -> None:
    """Have DVC keep what `dvc exp show` shows of an experiment, which it does not keep where it cannot.

    Else it reads each one from Git when somebody waits for it, a tenth of a second of processor time.
    """
    with Repo(str(checkout)) as repo:
        collect_rev(repo, experiment.commit)


def _free(name: str, taken: set[str]) -> str:
    """Return the name, with the next number behind it when it is taken."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    return free


def _locks(workspace: Path, kept: Sequence[Experiment]) -> list[str]:
    """Return what Git names the dvc.lock of each experiment; of one that has none, something else."""
    return [name for name, _ in kinds(workspace, [f"{one.commit}:{LOCK_FILE}" for one in kept])]


def push(repo: Repo, checkout: Path, experiment: Experiment, say: Say) -> None:
    """Push an experiment, and those that could not be pushed before, to the Git remote.

    That is `exp.git_remote` of DVC's config, else origin. Nothing happens unless `exp.auto_push` of DVC's
    config is true. One that holds files that Git does not track stays here. When the remote cannot be
    reached, there is a warning, and the next isolated run tries again.
    """
    if not is_shared(repo.config):
        return
    remote = _git_remote(repo.config)
    if not _is_there(checkout, remote):
        say(f"experiment {experiment.name} stays here: there is no Git remote '{remote}'")
        return
    ref = str(ExpRefInfo(experiment.baseline, experiment.name))
    if commit_at(checkout, ref) and not _holds_untracked(checkout, experiment, say):
        change(checkout, "update-ref", ref.replace(EXPS_NAMESPACE, UNSENT, 1), experiment.commit)
    for kept in reversed(experiments(checkout, say, UNSENT)):
        unsent = str(ExpRefInfo(kept.baseline, kept.name)).replace(EXPS_NAMESPACE, UNSENT, 1)
        try:
            name = _sent(checkout, remote, kept)
        except (RefusedError, UnreachableError) as error:
            where, then = without_password(remote), "the next isolated run tries again"
            say(f"warning: could not send experiment {kept.name} to Git remote '{where}': {error}; {then}")
            if isinstance(error, UnreachableError):
                return
            continue
        remove_ref(checkout, unsent, kept.commit)
        if name is not None:
            other = "" if name == kept.name else f" as {name}, for its name is taken there,"
            say(f"sent experiment {kept.name}{other} to Git remote {_where(checkout, remote)}")


@funcy.retry(TRIES, UnreachableError, timeout=lambda attempt: 2**attempt)
def _sent(checkout: Path, remote: str, kept: Experiment) -> str | None:
    """Send an experiment; return its name at the Git remote, None when that has it already.

    Raises RefusedError when the remote does not take it, UnreachableError when it does not answer.
    """
    ref, name = str(ExpRefInfo(kept.baseline, kept.name)), kept.name
    try:
        is_new = send(checkout, remote, ref, kept.commit)
    except RefusedError:
        if asked(checkout, remote, [ref]).partition("\t")[0] in ("", kept.commit):
            raise
        name = _beside(name, kept.commit)
        is_new = send(checkout, remote, str(ExpRefInfo(kept.baseline, name)), kept.commit)
    return name if is_new else None


def _beside(name: str, commit: str) -> str:
    """Return what an experiment is called where others have another one of its name."""
    return f"{name}-{commit[:SHORT]}"


def brought(checkout: Path, name: str) -> bool:
    """Fetch what `commits_of` may return from the Git remote that runs are sent to; return whether any is.

    Raises UnreachableError when the remote does not answer several times, so that nobody knows.
    """
    remote = shared_with(checkout)
    return remote is not None and _brought(checkout, remote, name)


@funcy.retry(TRIES, UnreachableError, timeout=lambda attempt: 2**attempt)
def _brought(checkout: Path, remote: str, name: str) -> bool:
    theirs = {}
    patterns = [f"{EXPS_NAMESPACE}/*/*/{name}", f"{EXPS_NAMESPACE}/*/*/{name}-*"]
    for line in asked(checkout, remote, patterns).splitlines():
        commit, _, ref = line.partition("\t")
        parts = REF.fullmatch(ref.removeprefix(EXPS_NAMESPACE))
        if parts is not None and parts[3] in (name, _beside(name, commit)):
            theirs[ref] = commit
    if theirs:
        fetch(checkout, remote, theirs, f"the experiment {name}")
    for ref, commit in theirs.items():
        # it is there when another sweep has brought it meanwhile, or when one of ours has its name
        if not set_ref(checkout, ref, commit, None) and commit_at(checkout, ref) != commit:
            set_ref(checkout, _beside(ref, commit), commit, None)
    return bool(theirs)


def shared_with(checkout: Path) -> str | None:
    """Return the Git remote that what runs keep is sent to; None where nothing is sent."""
    config = Config(str(checkout / Repo.DVC_DIR))
    remote = _git_remote(config)
    return remote if is_shared(config) and _is_there(checkout, remote) else None


def _git_remote(config: Mapping[str, Any]) -> str:
    return str(os.environ.get(DVC_EXP_GIT_REMOTE) or config["exp"].get("git_remote", "origin"))


def _is_there(checkout: Path, remote: str) -> bool:
    """Return whether a Git remote has this name; a URL or a path need not."""
    return ":" in remote or Path(remote).is_absolute() or remote in git(checkout, "remote").splitlines()


def _holds_untracked(checkout: Path, experiment: Experiment, say: Say) -> bool:
    """Return whether an experiment holds files that Git does not track in the checkout by now; say which."""
    untracked = untracked_in(checkout, experiment.commit)
    if untracked:
        say(
            f"warning: experiment {experiment.name} stays here, because it holds what Git does not track: "
            f"{', '.join(untracked)}; `git add` what everybody may see, or ignore it, "
            f"`dvc exp remove {experiment.name}`, and run the same command again"
        )
    return bool(untracked)


def untracked_in(checkout: Path, commit: str) -> list[str]:
    """Return the files that an experiment has taken along and Git does not track in the checkout by now."""
    trailers = f"--format=%(trailers:key={UNTRACKED},valueonly)"
    told = git(checkout, "show", "--no-patch", trailers, commit)
    held = [_path(line) for line in told.splitlines() if line]
    # not asked by their names, of which Git takes only so many
    known = {*names(checkout, "ls-files", "-z")} if held else set()
    return [readable(name) for name in held if name not in known]


def _path(line: str) -> str:
    """Return the path that a trailer names, or the trailer itself: others may have written anything there."""
    try:
        path = json.loads(line)
    except (ValueError, RecursionError):
        return line
    return path if isinstance(path, str) else line


def _where(checkout: Path, remote: str) -> str:
    """Return what people know a Git remote by; `say` prints it, so passwords are left out."""
    url = remote
    if remote in git(checkout, "remote").splitlines():
        url = f"'{remote}' ({git(checkout, 'remote', 'get-url', '--push', remote)})"
    return without_password(url)
