"""The DVC cache and settings of a checkout: used by its worktrees, kept from other users."""

import os
import shutil
from pathlib import Path

from configobj import ConfigObj
from dvc.config import Config, _pack_named
from dvc.config_schema import RelPath
from dvc.repo import Repo

import flows.ledger.yaml_limits  # noqa: F401 (before DVC reads YAML)
from tasks.shared.files import for_owner, private_folder


def keep_private(repo: Repo) -> None:
    """Keep others out of the checkout's own cache: DVC makes every file in it readable to all.

    One that is shared (DVC's `cache.shared`), or lies elsewhere, is as its owner has made it.
    """
    cache = Path(repo.cache.legacy.path)
    mine = Path(repo.local_dvc_dir or os.devnull)
    if cache == mine / "cache" and os.access(mine, os.W_OK) and not repo.config["cache"].get("shared"):
        private_folder(cache)


def share_cache(home: Path, folder: Path) -> None:
    """Have a worktree use the DVC cache, the remotes and all other settings of its home checkout.

    None of its commit's: a commit that was fetched could otherwise have a remote lead elsewhere, and be
    handed the secrets that home keeps for it. Relative paths would lead elsewhere from the worktree, so they
    are written anew. DVC itself writes in ASCII only.
    """
    place = _own_folder(folder)
    settings = Config(str(home / ".dvc")).load_one("local")
    with Repo(str(home)) as repo:
        keep_private(repo)
        settings["cache"]["dir"] = RelPath(repo.cache.legacy.path)
        for name, remote in repo.config["remote"].items():
            paths = {option: value for option, value in remote.items() if isinstance(value, RelPath)}
            settings["remote"].setdefault(name, {}).update(paths)
    # a worktree lives as long as its run: its links to the cache need no place, and whoever writes to one is
    # found out
    settings["cache"].setdefault("type", ["reflink", "hardlink", "copy"])
    committed = home / ".dvc/config"
    (place / "config").write_bytes(committed.read_bytes() if committed.exists() else b"")
    file = place / "config.local"
    written = ConfigObj(
        _pack_named(Config._save_paths(settings, str(file))),  # noqa: SLF001
        encoding="utf-8",
        interpolation=False,
    )
    with open(file, "xb", opener=for_owner) as out:
        written.write(out)


def _own_folder(folder: Path) -> Path:
    """Return the folder where DVC keeps what is a worktree's own, without what its commit may have put there.

    What is written there would go where a link leads; DVC unpickles what it finds in its databases.
    """
    place = folder.resolve() / ".dvc"
    if place.is_symlink():
        place.unlink()
    place.mkdir(exist_ok=True)
    for path in (place / name for name in ("config", "config.local", "tmp", "cache")):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return place
