"""Every function that opens a folder with a model in it."""

from tasks.problems.common.pretrained import classifier, config, saved_tokenizer, tokenizer
from tasks.shared.base_models import fetch, resolve
from tasks.shared.params import Model

LOADERS = {
    "resolve": lambda folder: resolve(Model(name=str(folder))),
    "fetch": lambda folder: fetch(Model(name=str(folder), revision="sha256:any")),
    "config": config,
    "tokenizer": lambda folder: tokenizer(folder, 16),
    "saved tokenizer": saved_tokenizer,
    "classifier": lambda folder: classifier(folder, None, ["a", "b"]),
}
