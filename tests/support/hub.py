"""A server on this machine that speaks as much of the Hugging Face hub's API as it takes to download a data set or model."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urlsplit


@dataclass
class Hub:
    """The commits of the one data set or model that it has, its branches, and what was asked of it."""

    repository: str
    # datasets or models
    kind: str = "datasets"
    url: str = ""
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def commit(self, files: dict[str, bytes], branch: str = "main") -> str:
        """Make a commit the newest one of a branch, and return its name."""
        name = sha1(repr(sorted(files.items())).encode(), usedforsecurity=False).hexdigest()
        self.commits[name] = files
        self.branches[branch] = name
        return name

    @property
    def downloads(self) -> list[str]:
        """The files that were downloaded."""
        return [
            path.partition("/resolve/")[2].partition("/")[2] for path in self.asked if "/resolve/" in path
        ]


class Handler(BaseHTTPRequestHandler):
    """Answers what `dataset_info`, `model_info`, `list_repo_tree` and `hf_hub_download` ask."""

    hub: Hub

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.hub.asked.append(unquote(urlsplit(self.path).path))
        self.answer(with_body=True)

    def answer(self, *, with_body: bool) -> None:
        path, hub = unquote(urlsplit(self.path).path), self.hub
        api, tree = (f"/api/{hub.kind}/{hub.repository}/{what}/" for what in ("revision", "tree"))
        files = f"{'' if hub.kind == 'models' else f'/{hub.kind}'}/{hub.repository}/resolve/"
        revision, _, name = path.removeprefix(files).partition("/")
        whole = next((path.removeprefix(one) for one in (api, tree) if path.startswith(one)), revision)
        commit = hub.branches.get(whole, whole)
        if not path.startswith((api, tree, files)):
            self.reply(404, b"", {"X-Error-Code": "RepoNotFound"})
        elif commit not in hub.commits:
            self.reply(404, b"", {"X-Error-Code": "RevisionNotFound"})
        elif path.startswith(tree):
            entries = [
                {"type": "file", "path": file, "size": len(content), "oid": self.blob(content)}
                for file, content in hub.commits[commit].items()
            ]
            self.reply(200, json.dumps(entries).encode(), {"Content-Type": "application/json"})
        elif path.startswith(api):
            its = {
                "id": hub.repository,
                "sha": commit,
                "siblings": [{"rfilename": file} for file in hub.commits[commit]],
            }
            self.reply(200, json.dumps(its).encode(), {"Content-Type": "application/json"})
        else:
            content = hub.commits[commit][name]
            etag = f'"{self.blob(content)}"'
            self.reply(200, content, {"X-Repo-Commit": commit, "ETag": etag}, with_body=with_body)

    def blob(self, content: bytes) -> str:
        """Return what names a content."""
        return sha1(content, usedforsecurity=False).hexdigest()

    def reply(self, status: int, content: bytes, headers: dict[str, str], *, with_body: bool = True) -> None:
        self.send_response(status)
        for header, value in ({"Content-Length": str(len(content))} | headers).items():
            self.send_header(header, value)
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def hub_server(repository: str, kind: str = "datasets") -> Iterator[Hub]:
    """Run such a server."""
    hub = Hub(repository, kind)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
