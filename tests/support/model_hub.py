"""A hub on this machine that has models: as much of its protocol as a download asks for, with faults to order."""

from __future__ import annotations

import datetime
import hashlib
import json
import random
import ssl
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from support import hub_server
from support import model_files as support_files
from support.hub_server import COMMIT

PIECE = 16 * 1024
LARGE = (".safetensors", "tokenizer.json")
"""Files that the hub keeps by SHA-256."""


class ModelHub(hub_server.Hub):
    """
    Attributes:
        models: files by name of each model.
        served: bytes of files that were sent, those that a broken connection lost too.
        headers: of each request for a file, by their names in small letters.
        asked_for: (file, first byte) of each request for a file.
        refusals: answers (status, headers) that come first, one for each request.
        cut: bytes of a file after which each answer breaks off; 0 for none.
        corrupt: names of files of which one byte is wrong, and how often.
        pace: seconds between pieces of 16 KB.
        stalls: how many answers stop in the middle without an end.
        unsized: whether no answer says how long it is.
        lies: changes to what the list says of a file.
        gate: the token that opens the models, where they are gated, and `accepted`: whether its owner may come in.
        page: names of files in whose place a page to sign in comes.
        cdn: another hub, to which requests for large files are sent on.
    """

    def __init__(self, models: dict[str, dict[str, bytes]]):
        self.models, self.served, self.headers, self.asked_for = models, 0, [], []
        self.refusals: list[tuple[int, dict[str, str]]] = []
        self.cut, self.pace, self.stalls, self.unsized = 0, 0.0, 0, False
        self.corrupt: dict[str, int] = {}
        self.lies: dict[str, dict[str, Any]] = {}
        self.gate, self.accepted, self.cdn = "", True, None
        self.page: set[str] = set()
        self.counting = threading.Lock()
        super().__init__({}, Handler)

    def use_tls(self, folder: Path) -> None:
        """Speak HTTPS from now on, with a certificate that nobody knows."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
        now = datetime.datetime.now(datetime.UTC)
        made = x509.CertificateBuilder(name, name, key.public_key(), 1, now - datetime.timedelta(1),
                                       now + datetime.timedelta(1)).sign(key, hashes.SHA256())
        file = folder / "server.pem"
        file.write_bytes(made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        self.server.handle_error = lambda request, address: None  # whoever doesn't trust it hangs up
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)


class Handler(hub_server.Handler):
    hub: ModelHub

    def answer(self, body: bytes = b"") -> None:
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        self.hub.asked.append(path)
        if self.hub.mode == "html":
            return self.send(200, b"<html>Sign in</html>", "text/html")
        if self.hub.refusals:
            status, headers = self.hub.refusals.pop(0)
            return self.send(status, b"no", "text/plain", headers)
        words = path.strip("/").split("/")
        api = words[:2] == ["api", "models"]
        words = words[2:] if api else words
        repo, rest = "/".join(words[:2]), words[2:]
        files = self.hub.models.get(repo)
        sent = self.headers.get("Authorization")
        if self.hub.gate and sent not in (None, f"Bearer {self.hub.gate}"):
            return self.send(401, b"{}", headers={"X-Error-Message": "Invalid credentials in Authorization header"})
        if files is None:
            return self.send(404 if sent else 401, b"{}", headers={"X-Error-Code": "RepoNotFound"})
        if (rest[1] if len(rest) > 1 else COMMIT) not in (COMMIT, "main", "v2"):
            return self.send(404, b"{}", headers={"X-Error-Code": "RevisionNotFound"})
        if api:
            return self.json({"id": repo, "sha": COMMIT, "private": False, "gated": bool(self.hub.gate), "tags": [],
                              "siblings": [self._entry(name, data) for name, data in files.items()]})
        if self.hub.gate and (sent is None or not self.hub.accepted):
            return self.send(403 if sent else 401, b"{}", headers={"X-Error-Code": "GatedRepo"})
        self._file("/".join(rest[2:]), files)

    def _entry(self, name: str, data: bytes) -> dict[str, Any]:
        entry: dict[str, Any] = {"rfilename": name, "size": len(data),
                                 "blobId": hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()}
        if name.endswith(LARGE):
            entry["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
        return {**entry, **self.hub.lies.get(name, {})}

    def _file(self, name: str, files: dict[str, bytes]) -> None:
        self.hub.headers.append({name.lower(): value for name, value in self.headers.items()})
        if name in self.hub.page:
            return self.send(200, b"<html>Sign in</html>", "text/html")
        if self.hub.cdn is not None and name.endswith(LARGE):
            return self.send(302, b"", headers={"Location": self.hub.cdn.url + self.path})
        data = files.get(name)
        if data is None:
            return self.send(404, b"", "text/plain", {"X-Error-Code": "EntryNotFound"})
        if self.hub.corrupt.get(name, 0):
            self.hub.corrupt[name] -= 1
            data = data[:-1] + bytes([data[-1] ^ 1])
        begin, headers = 0, {"X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if given := self.headers.get("Range"):
            begin = int(given.removeprefix("bytes=").partition("-")[0])
            headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
        self.hub.asked_for.append((name, begin))
        length = {"Connection": "close"} if self.hub.unsized else {"Content-Length": str(len(data) - begin)}
        self.send_response(206 if given else 200)
        for key, value in {"Content-Type": "application/octet-stream", **length, **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        self._pieces(data[begin:])

    def _pieces(self, data: bytes) -> None:
        end = min(len(data), self.hub.cut or len(data))
        if self.hub.stalls:
            self.hub.stalls -= 1
            self.wfile.write(data[:end // 2])
            self.hub.go_on.wait()
        try:
            for at in range(0, end, PIECE):
                piece = data[at:min(at + PIECE, end)]
                self.wfile.write(piece)
                with self.hub.counting:
                    self.hub.served += len(piece)
                if self.hub.pace and self.hub.go_on.wait(self.hub.pace):
                    break
        except OSError:
            pass  # whoever asked is gone
        if end < len(data):
            self.close_connection = True
            self.connection.close()


def repository(folder: Path, width: int) -> dict[str, bytes]:
    """A whole model whose weights are random numbers below 2: 96 bytes for each of its intermediate size."""
    weights = support_files.safetensors(support_files.llama_tensors(inner=width, vocabulary=272))
    header = 8 + int.from_bytes(weights[:8], "little")
    noise = bytearray(random.Random(0).randbytes(len(weights) - header))
    noise[1::2] = bytes(byte & 0xBF for byte in noise[1::2])  # of bfloat16's exponent: none is infinite or no number
    weights = weights[:header] + noise
    return model_files(support_files.write_model(
        folder, {"vocab_size": 272, "intermediate_size": width}, weights))


def model_files(folder: Path) -> dict[str, bytes]:
    """The files of a model folder, as a repository has them, with what a download leaves out."""
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
    return {**files, "README.md": b"---\nlicense: mit\n---\n# A model\n", ".gitattributes": b"*.bin lfs\n",
            "pytorch_model.bin": b"PK\x03\x04 a pickle", "onnx/model.onnx": b"onnx", "original/params.json": b"{}",
            "consolidated.safetensors": b"twice"}


def sharded(files: dict[str, bytes]) -> dict[str, bytes]:
    """The same with its weights in two files and an index."""
    weights = files["model.safetensors"]
    rest = {name: data for name, data in files.items() if name != "model.safetensors"}
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    index = {"weight_map": {"a": names[0], "b": names[1]}}
    return {**rest, "model.safetensors.index.json": json.dumps(index).encode(), names[0]: weights,
            names[1]: weights[::-1]}


@contextmanager
def serving(models: dict[str, dict[str, bytes]]) -> Iterator[ModelHub]:
    hub = ModelHub(models)
    try:
        yield hub
    finally:
        hub.stop()
