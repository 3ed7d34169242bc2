"""A Hugging Face hub on this machine, as far as it is needed to ask for a model and to fetch its files."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_MODEL = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+?)(/revision/(?P<revision>.+))?")
_TREE = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)/tree/(?P<revision>[^/]+)")
_FILE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")


@dataclass
class FakeHub:
    """What it holds, and what it was asked.

    Attributes:
        address: Its URL.
        repositories: By name: folders by revision; `main` is the newest.
        licence: On every model card.
        gated: Repositories that ask for their licence to be accepted, and the status with which they refuse a file:
            401 to those who have not logged in, 403 to the others.
        private: Repositories that strangers are not shown.
        fetched: Files that were sent.
        asked: Requests of any kind.
    """

    address: str
    repositories: dict[str, dict[str, Path]] = field(default_factory=dict)
    licence: str = "apache-2.0"
    gated: dict[str, int] = field(default_factory=dict)
    private: set[str] = field(default_factory=set)
    fetched: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def publish(self, repository: str, folder: Path, *, tag: str = "") -> str:
        """Put a folder there as the newest revision; returns its commit."""
        commit = hashlib.sha1(f"{repository}{len(self.repositories.get(repository, {}))}".encode()).hexdigest()
        revisions = self.repositories.setdefault(repository, {})
        revisions |= {commit: folder, "main": folder} | ({tag: folder} if tag else {})
        return commit

    def commit_of(self, repository: str, revision: str) -> str | None:
        revisions = self.repositories[repository]
        folder = revisions.get(revision)
        return next((name for name, each in reversed(revisions.items()) if each == folder and len(name) == 40), None)


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = self.path.split("?")[0]
        self.hub.asked.append(f"{self.command} {path}")
        match = _TREE.fullmatch(path) or _MODEL.fullmatch(path) or _FILE.fullmatch(path)
        repository = match["repo"] if match else ""
        if match is None or repository not in self.hub.repositories:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
            return
        if repository in self.hub.private:
            self._send(401, b"{}", {"X-Error-Code": "RepoNotFound"})
            return
        if repository in self.hub.gated and match.re is _FILE:
            self._send(self.hub.gated[repository], b"{}", {"X-Error-Code": "GatedRepo"})
            return
        commit = self.hub.commit_of(repository, match["revision"] or "main")
        if commit is None:
            self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            return
        self._send_about(match, repository, commit)

    def _send_about(self, match: re.Match[str], repository: str, commit: str) -> None:
        folder = self.hub.repositories[repository][commit]
        files = {str(file.relative_to(folder)): file for file in sorted(folder.rglob("*")) if file.is_file()}
        if match.re is _TREE:
            tree = [
                {"type": "file", "path": name, "size": file.stat().st_size, "oid": _etag(file)}
                for name, file in files.items()
            ]
            self._send(200, json.dumps(tree).encode())
        elif match.re is _MODEL:
            model = {
                "id": repository,
                "sha": commit,
                "siblings": [{"rfilename": name, "size": file.stat().st_size} for name, file in files.items()],
                "cardData": {"license": self.hub.licence},
                "tags": [],
            }
            self._send(200, json.dumps(model).encode())
        else:
            file = files[match["file"]]
            if self.command == "GET":
                self.hub.fetched.append(match["file"])
            self._send(200, file.read_bytes(), {"ETag": f'"{_etag(file)}"', "X-Repo-Commit": commit})

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@contextmanager
def serve_hub() -> Iterator[FakeHub]:
    """Run one until the context ends."""

    class Handler(_Handler):
        """The one of this hub."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Handler.hub = hub = FakeHub(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


def _etag(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()
