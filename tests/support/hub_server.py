"""A hub on this machine: as much of its protocol as `datasets` and `huggingface_hub` ask for, data sets of a few rows.

Its files may be spoilt: `mode` says how it answers.
"""

from __future__ import annotations

import hashlib
import json
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """
    Attributes:
        url: for HF_ENDPOINT.
        mode: "well", "html" (a sign-in page for everything), "down" (status 503), "half" (files end in the middle) or
            "stall" (files come no further than their first half).
        asked: paths that were asked for.
    """

    def __init__(self, files: dict[str, dict[str, bytes]], handler: type[Handler] | None = None):
        self.files = files
        self.mode = "well"
        self.asked: list[str] = []
        self.go_on = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (handler or Handler,), {"hub": self}))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self.go_on.set()
        self.server.shutdown()
        self.server.server_close()


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.answer(body)

    def answer(self, body: bytes = b"") -> None:
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        self.hub.asked.append(path)
        if self.hub.mode == "html":
            return self.send(200, b"<html>Sign in</html>", "text/html")
        if self.hub.mode == "down":
            return self.send(503, b"no", "text/plain")
        api, repo, verb, rest = self._parts(path)
        files = self.hub.files.get(repo)
        if files is None:
            return self.send(404, b"{}", headers={"X-Error-Code": "RepoNotFound"})
        if not api:
            return self._file(files, rest)
        if verb == "tree":
            return self.json(list(self._entries(files, rest.rstrip("/"))))
        if verb == "paths-info":
            return self.json(self._paths_info(files, body))
        self.json({"id": repo, "sha": COMMIT, "private": False, "gated": False, "disabled": False, "tags": [],
                    "downloads": 0, "likes": 0, "siblings": [{"rfilename": name} for name in files]})

    @staticmethod
    def _parts(path: str) -> tuple[bool, str, str, str]:
        """Whether it is the API's; the data set; what is wanted of it; the path inside."""
        words = path.strip("/").split("/")
        api = words[0] == "api"
        words = words[1:] if api else words
        if words[:1] != ["datasets"] or len(words) < 3:
            return True, "", "", ""
        return api, "/".join(words[1:3]), words[3] if len(words) > 3 else "", "/".join(words[5:])

    @staticmethod
    def _entries(files: dict[str, bytes], below: str) -> Iterator[dict[str, Any]]:
        folders = set()
        for name, data in files.items():
            if below and not name.startswith(below + "/"):
                continue
            for depth in range(1, name.count("/") + 1):
                folder = "/".join(name.split("/")[:depth])
                if folder not in folders and len(folder) > len(below):
                    folders.add(folder)
                    yield {"type": "directory", "path": folder, "oid": "0" * 40, "size": 0}
            yield {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}

    def _paths_info(self, files: dict[str, bytes], body: bytes) -> list[dict[str, Any]]:
        if "json" in (self.headers.get("Content-Type") or ""):
            wanted = json.loads(body)["paths"]
        else:
            wanted = urllib.parse.parse_qs(body.decode()).get("paths", [])
        wanted = [wanted] if isinstance(wanted, str) else wanted
        return [entry for entry in self._entries(files, "") if entry["path"] in wanted]

    def _file(self, files: dict[str, bytes], name: str) -> None:
        data = files.get(name)
        if data is None:
            return self.send(404, b"Entry not found", "text/plain",
                              {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        status = 200
        if given := self.headers.get("Range"):
            first, last = given.removeprefix("bytes=").split("-")
            start, end = int(first), min(int(last) if last else len(data) - 1, len(data) - 1)
            headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
            data, status = data[start:end + 1], 206
        self.send(status, data, "application/octet-stream", headers, spoil=name.endswith((".parquet", ".jsonl")))

    def json(self, value: Any) -> None:
        self.send(200, json.dumps(value).encode())

    def send(self, status: int, data: bytes, kind: str = "application/json", headers: dict[str, str] | None = None,
              spoil: bool = False) -> None:
        self.send_response(status)
        for key, value in {"Content-Type": kind, "Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if spoil and self.hub.mode in ("half", "stall"):
            self.wfile.write(data[:len(data) // 2])
            self.wfile.flush()
            if self.hub.mode == "stall":
                self.hub.go_on.wait()
            self.close_connection = True
            self.connection.close()
            return
        self.wfile.write(data)


def parquet(rows: list[dict[str, Any]], path: Path) -> bytes:
    """Rows as a Parquet file, as the hub keeps them."""
    import datasets

    datasets.disable_progress_bars()
    datasets.Dataset.from_list(rows).to_parquet(path)
    return path.read_bytes()


def card(parts: dict[str, dict[str, str]]) -> bytes:
    """README.md of a data set: which files each part and split has."""
    lines = ["---", "license: mit", "configs:"]
    for part, splits in parts.items():
        lines += [f"- config_name: {part}", "  data_files:"]
        for split, path in splits.items():
            lines += [f"  - split: {split}", f"    path: {path}"]
    return ("\n".join([*lines, "---", "", "# Rows"]) + "\n").encode()


@contextmanager
def serving(files: dict[str, dict[str, bytes]]) -> Iterator[Hub]:
    hub = Hub(files)
    try:
        yield hub
    finally:
        hub.stop()
