"""Pickles are told by what they hold, whatever their names, and nothing else is taken for one."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from support import crafted_models, model_files

from slmstudio.core.model.vetting import contents


def told(tmp_path: Path, data: bytes) -> bool:
    (tmp_path / "file").write_bytes(data)
    with open(tmp_path / "file", "rb") as file:
        return contents.is_pickle(file)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol(tmp_path: Path, protocol: int) -> None:
    evil = crafted_models.Evil(tmp_path / "model")
    for value in (evil, {"a": [1, 2.5]}, {str(number): number / 3 for number in range(20_000)}, b"x" * 200_000):
        assert told(tmp_path, pickle.dumps(value, protocol))
    assert told(tmp_path, pickle.dumps(evil, protocol) + b"and more" * 1000)
    assert not (tmp_path / crafted_models.CANARY).exists()


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zlib.compress])
def test_packed_ones(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    assert told(tmp_path, pack(pickle.dumps(crafted_models.Evil(tmp_path / "model"))))
    assert not told(tmp_path, pack(b"A text, and nothing else. " * 99))


def test_archives(tmp_path: Path) -> None:
    assert told(tmp_path, crafted_models.torch_zip(tmp_path / "model"))
    late, plain, old = io.BytesIO(), io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(late, "w") as archive:
        archive.writestr("archive/data/0", bytes(300_000))
        archive.writestr("archive/data.pkl", b"x")
    with zipfile.ZipFile(plain, "w") as archive:
        archive.writestr("notes.txt", b"x")
    with tarfile.open(fileobj=old, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("pickle"))
    assert told(tmp_path, late.getvalue()) and told(tmp_path, old.getvalue())
    assert not told(tmp_path, plain.getvalue())


def test_arrays_of_objects(tmp_path: Path) -> None:
    assert told(tmp_path, crafted_models.numpy_objects(tmp_path / "model"))
    assert not told(tmp_path, crafted_models.numpy_objects(tmp_path / "model").replace(b"|O", b"<f4"))


@pytest.mark.parametrize("data", [
    b"", b"{}", b"[]", b".", b"(", b"# Read me\n", b"cython\nnumpy\ntorch==2.1\n", b"Inner text.\n",
    b"This is " * 20_000, b"\x89PNG\r\n\x1a\n", b"GGUF\x03\0\0\0", b"\x80", b"\x80\x04\xff\xff\xff\xff" * 9,
    b"\x00" * 5000],
    ids=lambda data: repr(data[:12]))
def test_other_files(tmp_path: Path, data: bytes) -> None:
    assert not told(tmp_path, data)
    assert not told(tmp_path, model_files.safetensors(model_files.llama_tensors()))


def test_a_folder_with_too_many_files_is_looked_at_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "MOST", 3)
    for number in range(5):
        (tmp_path / str(number)).write_bytes(b"x")
    found, warnings = contents.look(tmp_path), []
    contents.judge(found, [], warnings)
    assert (found.files, found.whole) == (3, False) and "more than 3 files" in warnings[0]
