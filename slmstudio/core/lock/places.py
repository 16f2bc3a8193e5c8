"""Which folders and files a worker needs, by its kind and what it is asked: what Landlock leaves open.

Readable are the program and the system, the files that the request names (with what links in them lead to, and what a
run that it names was made from), and models of the library. Writable are the job's own folder, its run's, the cache, a
temporary folder of its own, and the place of the result.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from slmstudio.core import files, jobs, paths
from slmstudio.core.lock import landlock

SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/opt", "/nix/store", "/run/opengl-driver")
"""Programs and libraries."""
TOLD_BY_SYSTEM = ("/etc", "/proc", "/sys")
DEVICES = ("null", "zero", "full", "random", "urandom", "dri", "kfd", "dxg", "nvidia-caps")
"""Below /dev, beside every nvidia*."""
CACHES = {"CUDA_CACHE_PATH": "cuda", "TRITON_CACHE_DIR": "triton", "TORCHINDUCTOR_CACHE_DIR": "inductor",
          "TORCH_EXTENSIONS_DIR": "torch_extensions", "NUMBA_CACHE_DIR": "numba", "MPLCONFIGDIR": "matplotlib",
          "HF_DATASETS_CACHE": "datasets", "HF_MODULES_CACHE": "modules"}
"""Variables that say where libraries keep what they compile: the folder below ours, unless somebody chose another."""
MOST_LINKS = 10_000
"""Entries of a folder that are looked at for links: a model's folder has dozens."""
ONLINE = ("download", "fetch_starter", "fetch_benchmark")
"""Kinds of jobs that fetch something, on a person's word."""
MOST_RUNS = 20
"""A run may continue one that continued another: so many are followed."""
Rule = tuple[Path, int]


def rules(kind: str, request: Mapping[str, Any], folder: Path | None, temporary: Path) -> list[Rule]:
    """(path, rights as `landlock` names them) for a worker.

    Args:
        kind: of job, or "chat" or "serve".
        request: what it is asked: the job's, or the first command of an interactive worker.
        folder: the job's; None for an interactive worker.
        temporary: the worker's own folder for temporary files.
    """
    found = [*_program(), *_system(), (temporary, landlock.WRITE)]
    if kind in ONLINE:  # certificates, proxies and tokens lie where each system likes; it writes to its target alone
        found.append((Path("/"), landlock.RUN))
    found += [(Path(os.environ[name]), landlock.WRITE) for name in CACHES if name in os.environ]
    home = paths.home()
    found += [(home / name, landlock.READ) for name in ("models", "benchmarks", "settings.json")]
    found += [(paths.cache_dir(), landlock.WRITE), (paths.place_file(), landlock.READ)]
    if folder is None:  # it looks whether a run is at work, and answers with what any run has left
        found.append((paths.runs_dir(), landlock.READ))
    found += [(path, landlock.READ) for path in _named(kind, request)]
    found += [(path, landlock.WRITE) for path in _results(kind, request, folder)]
    return found


def prepare(temporary: Path) -> dict[str, str]:
    """Environment variables by which libraries keep to the places that are left open. Makes the folders.

    Raises:
        OSError: one cannot be made.
    """
    place = paths.cache_dir() / "libraries"
    chosen = {name: os.environ.get(name) or str(place / below) for name, below in CACHES.items()}
    for each in chosen.values():
        os.makedirs(each, exist_ok=True)
    return {**chosen, "TMPDIR": str(temporary)}


def _program() -> Iterator[Rule]:
    """This program, its Python and its packages."""
    roots = {sys.prefix, sys.base_prefix, sys.exec_prefix, os.path.dirname(os.path.realpath(sys.executable)),
             str(paths.resources().parent), *sys.path}
    variables = ("LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_PATH", "PYTHONPATH", "SLMSTUDIO_CPUINFO")
    roots |= {part for name in variables for part in os.environ.get(name, "").split(os.pathsep)}
    yield from ((Path(root), landlock.RUN) for root in sorted(roots) if os.path.isabs(root))


def _system() -> Iterator[Rule]:
    yield from ((Path(path), landlock.RUN) for path in SYSTEM)
    yield from ((Path(path), landlock.READ) for path in TOLD_BY_SYSTEM)
    # Its own entry, for the highest memory use that it forgets: another process's is closed to it.
    yield Path("/proc/self"), landlock.READ | landlock.WRITE_FILE | landlock.TRUNCATE
    yield Path("/dev/shm"), landlock.WRITE
    devices = [*(Path("/dev") / name for name in DEVICES), *Path("/dev").glob("nvidia*")]
    yield from ((path, landlock.DEVICE) for path in devices)


def _named(kind: str, request: Mapping[str, Any]) -> Iterator[Path]:
    """What the request names, and what the runs among it name in turn."""
    waiting, seen = list(_absolute(request)), set[Path]()
    while waiting:
        path = waiting.pop()
        if path in seen or not path.exists():
            continue
        seen.add(path)
        yield from _whole(path)
        if (path / jobs.RUN).is_file() and len(seen) < MOST_RUNS:
            waiting += _absolute(files.read_json(path / jobs.RUN) or {})
    if kind == "export":  # the weights that a 4-bit base was made from may lie beside it
        yield from {path.parent for path in seen if (path / "config.json").is_file()}


def _absolute(value: Any) -> Iterator[Path]:
    """The absolute paths among the texts of a JSON value."""
    if isinstance(value, str):
        if os.path.isabs(value) and "\0" not in value and len(value) < 4096 and Path(value) != Path("/"):
            yield Path(value)
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _absolute(each)
    elif isinstance(value, list):
        for each in value:
            yield from _absolute(each)


def _whole(path: Path) -> Iterator[Path]:
    """A file or folder with what belongs to it: where links in it lead; beside a GGUF file its other parts, its proof,
    and the adapters that fit it."""
    yield path
    if path.is_dir():
        yield from _links(path)
    elif path.suffix == ".gguf":
        with os.scandir(path.parent) as entries:
            yield from (Path(each.path) for each in entries
                        if each.is_file() and (each.name.endswith(".gguf") or each.name.startswith(path.stem)))


def _links(folder: Path) -> Iterator[Path]:
    """Where a folder of the hub's cache keeps its files. No other links are followed: a model comes from strangers, and
    could name what isn't theirs."""
    folder = folder.resolve()
    blobs = folder.parent.parent / "blobs"
    if folder.parent.name != "snapshots" or not blobs.parent.name.startswith("models--"):
        return
    for entry in itertools.islice(folder.iterdir(), MOST_LINKS):
        if entry.is_symlink() and entry.resolve().is_relative_to(blobs):
            yield entry.resolve()


def _results(kind: str, request: Mapping[str, Any], folder: Path | None) -> Iterable[Path]:
    """Where the job writes; a folder that is to hold the result is made, for rules are of what is there."""
    if folder is None:
        return []
    found = [folder]
    if (folder.parent.parent / jobs.RUN).is_file() and folder.parent.name == "jobs":
        found.append(folder.parent.parent)
    out = request.get("out")
    if kind == "export" and isinstance(out, str):
        found.append(Path(out))
    elif kind in ("import", "fetch_starter") and isinstance(out, str):
        found.append(Path(out).parent)  # it's made beside its place, and then renamed
    elif kind == "parity" and isinstance(request.get("gguf"), str):
        found.append(Path(request["gguf"]).parent)
    elif kind in ONLINE:
        found += [paths.models_dir(), paths.benchmarks_dir()]
    for each in found:
        each.mkdir(parents=True, exist_ok=True)
    return found
