"""A hub on the loopback: as much of the protocol of huggingface.co as its own client asks for."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from huggingface_hub import constants

from dnazen.model import source

COMMITS = {"main": "a" * 40, "v1": "b" * 40, "refs/pr/2": "c" * 40}
"""What each repository's branches and tags name."""


class LoopbackHub:
    """Repositories by name, each with the files of every commit; and what was asked of it."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, dict[str, bytes]]] = {}
        self.gated: set[str] = set()
        self.cut: set[str] = set()
        """Files that break off in the middle."""
        self.status: int | None = None
        """In place of every answer."""
        self.requests: list[str] = []
        self.url = ""

    def add(self, repository: str, folder: Path | None = None, revision: str = "main", **files):
        content = {} if folder is None else {p.name: p.read_bytes() for p in folder.iterdir()}
        commits = self.files.setdefault(repository, {})
        commits[COMMITS[revision]] = content | {n.replace("__", "."): c for n, c in files.items()}

    def answer(self, path: str):
        """Status, headers and body."""
        if self.status is not None:
            return self.status, {}, b""
        found = re.fullmatch(
            r"(?:/api/models)?/(?P<repository>[^/]+/[^/]+?)"
            r"(?:/(?P<kind>resolve|revision)/(?P<revision>refs%2Fpr%2F\d+|[^/?]+)(?:/(?P<file>[^?]+))?)?"
            r"(?:\?.*)?",
            path,
        )
        assert found, path
        repository, revision = found["repository"], found["revision"] or "main"
        if repository not in self.files:
            return 401, {"X-Error-Code": "RepoNotFound"}, b""
        revision = revision.replace("%2F", "/")
        commit = COMMITS.get(revision, revision)
        if commit not in self.files[repository]:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        files = self.files[repository][commit]
        if found["kind"] != "resolve":
            siblings = [{"rfilename": name} for name in files]
            body = {"_id": "1", "id": repository, "sha": commit, "siblings": siblings}
            return 200, {}, json.dumps(body).encode()
        if repository in self.gated:
            return 403, {"X-Error-Code": "GatedRepo"}, b""
        headers = {"X-Repo-Commit": commit}
        if found["file"] not in files:
            return 404, headers | {"X-Error-Code": "EntryNotFound"}, b""
        content = files[found["file"]]
        return 200, headers | {"ETag": f'"{etag(found["file"], content)}"'}, content


def etag(name: str, content: bytes) -> str:
    """Weights are large files, of SHA-256; the others are called as git calls them."""
    if name.endswith((".safetensors", ".bin")):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextmanager
def serving():
    """A hub without repositories, at work."""
    hub = LoopbackHub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hub.requests.append(f"{self.command} {self.path}")
            status, headers, body = hub.answer(self.path)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                broken = self.path.rpartition("/")[2] in hub.cut
                self.wfile.write(body[: len(body) // 2] if broken else body)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


def use(monkeypatch, url: str, cache: Path) -> None:
    """Let this process read from a hub, as HF_ENDPOINT and HF_HOME would, with nothing kept."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    source._of_hub.cache_clear()
