"""Parts of hostile and broken model folders, and the honest folder that they are made of."""

from __future__ import annotations

import io
import json
import os
import pickle
import socket
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support import model_files
from support.model_files import llama_tensors, safetensors

ROWS = 272
INDEX = "model.safetensors.index.json"
CANARY = "canary"
"""The folder, beside the model's, that hostile code would make."""


class Evil:
    """Makes the canary when it is unpickled."""

    def __init__(self, folder: Path):
        self.canary = str(folder.parent / CANARY)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.canary,)


def honest(folder: Path, config: dict[str, Any] | None = None, **options: Any) -> Path:
    """A whole model folder whose tokenizer, template and weights belong together."""
    weights = safetensors(llama_tensors(vocabulary=ROWS))
    return model_files.write_model(folder, {"vocab_size": ROWS, **(config or {})}, **{"weights": weights, **options})


def shards(folder: Path, change: Callable[[list[dict[str, Any]], dict[str, Any]], None] = lambda halves, index: None
           ) -> Path:
    """The same in two files and an index, which `change` may change."""
    honest(folder)
    (folder / "model.safetensors").unlink()
    tensors = list(llama_tensors(vocabulary=ROWS).items())
    halves = [dict(tensors[:9]), dict(tensors[9:])]
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    index = {"metadata": {"total_size": 1000},
             "weight_map": {tensor: name for name, half in zip(names, halves, strict=True) for tensor in half}}
    change(halves, index)
    for name, half in zip(names, halves, strict=True):
        (folder / name).write_bytes(safetensors(half))
    (folder / INDEX).write_text(json.dumps(index))
    return folder


def header(entries: str, data: bytes = bytes(16)) -> bytes:
    """A safetensors file with a header written by hand."""
    text = entries.encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(shape: str, begin: int, end: int, kind: str = "F32") -> str:
    return f'{{"dtype": "{kind}", "shape": {shape}, "data_offsets": [{begin}, {end}]}}'


def edit(folder: Path, name: str, **changes: Any) -> None:
    """Change keys of a JSON file of the folder."""
    file = folder / name
    state = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    file.write_text(json.dumps({**state, **changes}), encoding="utf-8")


def tokenizer(folder: Path, **changes: Any) -> None:
    honest(folder)
    edit(folder, "tokenizer.json", **changes)


def split(folder: Path, expression: str) -> None:
    """A tokenizer that cuts text where a regular expression says."""
    tokenizer(folder, pre_tokenizer={"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]})


def with_file(folder: Path, name: str, content: bytes) -> None:
    honest(folder)
    (folder / name).write_bytes(content)


def linked(folder: Path, name: str, target: Path | None = None) -> None:
    """Put the folder's file elsewhere, and a link to it in its place."""
    honest(folder)
    elsewhere = folder.parent / f"{folder.name}-outside"
    elsewhere.mkdir()
    (folder / name).rename(elsewhere / name)
    (folder / name).symlink_to(target or elsewhere / name)


def torch_zip(folder: Path) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Evil(folder)))
    return written.getvalue()


def numpy_objects(folder: Path) -> bytes:
    """A .npy file of objects, as `numpy.save` writes it."""
    text = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + pickle.dumps(Evil(folder))


def sparse(folder: Path, name: str, size: int, begin: bytes, end: bytes) -> None:
    honest(folder)
    with open(folder / name, "wb") as file:
        file.write(begin)
        file.seek(size - len(end))
        file.write(end)


def foreign_code(folder: Path, **config: Any) -> None:
    """Python files that make the canary, and a config.json that names them."""
    honest(folder, {"auto_map": {"AutoConfig": "modeling.Config", "AutoModelForCausalLM": "modeling.Model"}, **config})
    (folder / "modeling.py").write_text(f"import os\nos.mkdir({str(folder.parent / CANARY)!r})\n")


def bare_socket(folder: Path) -> None:
    honest(folder)
    place = os.getcwd()
    os.chdir(folder)  # a socket's path may have 107 bytes
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind("README.md")
    os.chdir(place)


def pipe(folder: Path) -> None:
    honest(folder)
    os.mkfifo(folder / "README.md")


def many_files(folder: Path) -> None:
    honest(folder)
    for number in range(10_001):
        os.close(os.open(folder / f"{number}", os.O_CREAT))


def as_folder(folder: Path) -> None:
    honest(folder)
    (folder / "generation_config.json").mkdir()


def template_link(folder: Path) -> None:
    honest(folder)
    outside = folder.parent / "template-outside"
    os.mkfifo(outside)
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tool.jinja").symlink_to(outside)


def first(index: dict[str, Any]) -> str:
    return next(iter(index["weight_map"]))


def rename(index: dict[str, Any], name: str) -> None:
    index["weight_map"] = dict.fromkeys(index["weight_map"], name)
