"""Which folders and files a worker needs, by its kind and what it is asked: what Landlock leaves open.

Readable are the program and the system, the files that the request names (with what links in them lead to, and what a
run that it names was made from), and models of the library. Writable are the job's own folder, its run's, what workers
keep in the cache, a temporary folder of its own, and the place of the result.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
import struct
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from slmstudio.core import files, jobs, paths
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.lock.seccomp import Processor, syscall

# -- Closes the file system to this thread and whatever it starts, except for some folders (Linux 5.19 and newer).
# https://docs.kernel.org/userspace-api/landlock.html. What Landlock doesn't see: metadata (chmod, times), and whether a
# file is there.

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 1 << 1, 1 << 2, 1 << 3
MAKE_CHAR, MAKE_BLOCK, REFER, TRUNCATE, IOCTL_DEV = 1 << 6, 1 << 11, 1 << 13, 1 << 14, 1 << 15
FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
READ = READ_FILE | READ_DIR
RUN = READ | EXECUTE
WRITE = ((1 << 15) - 1) & ~(MAKE_CHAR | MAKE_BLOCK | EXECUTE)
"""Everything below a folder, except making devices and starting programs."""
DEVICE = READ_FILE | READ_DIR | WRITE_FILE | TRUNCATE | IOCTL_DEV
_LEAST = 2
"""The first version that knows `REFER`: the one before refuses each move of a file to another folder."""
_KNOWN = ((1, (1 << 13) - 1), (2, REFER), (3, TRUNCATE), (5, IOCTL_DEV))
"""Rights of the file system by the version that has them."""
_TCP_BIND_AND_CONNECT, _NET_SINCE = 3, 4
_ABSTRACT_SOCKETS_AND_SIGNALS, _SCOPES_SINCE = 3, 6


class Unavailable(OSError):
    """This kernel's Landlock can't be used; the text says why."""


def version(processor: Processor) -> int:
    """The version of the kernel's Landlock; 0 if there is none, or it is switched off."""
    with contextlib.suppress(OSError):
        return syscall(processor, "landlock_create_ruleset", None, 0, 1)
    return 0


def holds() -> bool:
    """Whether this process is kept from the root folder, which each set of a worker's rules leaves out."""
    try:
        os.scandir("/").close()
    except PermissionError:
        return True
    return False


def restrict(processor: Processor, rules: Iterable[tuple[Path, int]], network: bool, scoped: bool) -> int:
    """Leave this thread, and what it starts, the rights of `rules` alone. Paths that can't be opened are passed over.

    Args:
        rules: (path, rights); for a folder, of everything below it.
        network: whether also to refuse TCP, as far as the kernel can.
        scoped: the same for sockets without a path of other programs, and signals to these.

    Returns:
        The kernel's version of Landlock.

    Raises:
        Unavailable: it has none, or one that is too old.
        OSError: it refuses.
    """
    abi = version(processor)
    if abi == 0:
        raise Unavailable(tr("this kernel has no Landlock"))
    if abi < _LEAST:
        raise Unavailable(tr("this kernel's Landlock is too old: with it, no file could be moved to another folder"))
    handled = sum(rights for since, rights in _KNOWN if since <= abi)
    net = _TCP_BIND_AND_CONNECT if network and abi >= _NET_SINCE else 0
    scopes = _ABSTRACT_SOCKETS_AND_SIGNALS if scoped and abi >= _SCOPES_SINCE else 0
    size = 8 if abi < _NET_SINCE else 16 if abi < _SCOPES_SINCE else 24
    attributes = struct.pack("=QQQ", handled, net, scopes)[:size]
    ruleset = syscall(processor, "landlock_create_ruleset", attributes, size, 0)
    try:
        for path, rights in rules:
            _allow(processor, ruleset, path, rights & handled)
        syscall(processor, "landlock_restrict_self", ruleset, 0)
    finally:
        os.close(ruleset)
    return abi


def _allow(processor: Processor, ruleset: int, path: Path, rights: int) -> None:
    with contextlib.suppress(OSError):  # one path that can't be opened must not leave all the others open
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
                rights &= FILE_RIGHTS
            if rights:
                beneath = struct.pack("=Qi", rights, descriptor)
                syscall(processor, "landlock_add_rule", ruleset, 1, beneath, 0)
        finally:
            os.close(descriptor)


SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/opt", "/nix/store", "/run/opengl-driver")
"""Programs and libraries."""
TOLD_BY_SYSTEM = ("/etc", "/proc", "/sys")
DEVICES = ("null", "zero", "full", "random", "urandom", "dri", "kfd", "dxg", "nvidia-caps")
"""Below /dev, beside every nvidia*."""
CACHES = {"CUDA_CACHE_PATH": "cuda", "TRITON_CACHE_DIR": "triton", "TORCHINDUCTOR_CACHE_DIR": "inductor",
          "TORCH_EXTENSIONS_DIR": "torch_extensions", "NUMBA_CACHE_DIR": "numba", "MPLCONFIGDIR": "matplotlib",
          "HF_DATASETS_CACHE": "datasets", "HF_MODULES_CACHE": "modules", "MESA_SHADER_CACHE_DIR": "mesa",
          "__GL_SHADER_DISK_CACHE_PATH": "nvidia"}
"""Variables that say where libraries keep what they compile: the folder below ours, unless somebody chose another."""
MOST_LINKS = 10_000
"""Entries of a folder that are looked at for links: a model's folder has dozens."""
ONLINE = ("download", "fetch_starter", "fetch_benchmark")
"""Kinds of jobs that fetch something, on a user's word."""
WORKERS_CACHE, FETCHERS_CACHE = ("libraries", "rows", "tokens", "measured"), ("locks", "starters")
"""Folders of the cache that a worker writes, and those of one that fetches besides."""
ROWS = ("train_file", "eval_file", "test")
FIELDS = (*ROWS, "model", "start_from", "run", "train_run", "adapter", "path", "gguf", "data", "requirements", "beside",
          "rows", "assistant", "sources")
"""Fields that name what is read: a run's, a job's, and those of an interactive worker's first command."""
PARTS = ("config", "models", "judge", "benchmark", "context")
"""Fields that hold such fields in turn."""
MODELS_FILES = ("config.json", "adapter_config.json", jobs.RUN)
"""A folder with one of these is a model, an adapter or a run."""
MOST_RUNS = 20
"""A run may continue one that continued another: this many are followed."""
Rule = tuple[Path, int]


def rules(kind: str, request: Mapping[str, Any], folder: Path | None, temporary: Path | None) -> list[Rule]:
    """(path, rights as the kernel names them) for a worker.

    Args:
        kind: of job, or "chat", "talk" or "serve".
        request: what it is asked: the job's, or the first command of an interactive worker.
        folder: the job's; None for an interactive worker.
        temporary: the worker's own folder for temporary files.
    """
    found = [*_program(), *_system()]
    if temporary is not None:
        found.append((temporary, WRITE))
    if kind in ONLINE:  # certificates, proxies and tokens are where each system likes; it writes to its target alone
        found.append((Path("/"), RUN))
    found += [(Path(os.environ[name]), WRITE) for name in CACHES if name in os.environ]
    home = paths.home()
    found += [(home / name, READ) for name in ("models", "benchmarks", "settings.json")]
    found += [(path, READ) for path in (paths.cache_dir() / "vetting", paths.place_file(),
                                                 paths.accepted_tokenizers_file())]
    found += [(path, WRITE) for path in _kept(kind)]
    if kind in ("chat", "talk", "serve", "evaluate", "documents"):  # opening a GGUF file asks whether a run is running
        found.append((paths.runs_dir(), READ))
    found += [(path, READ) for path in _named(request)]
    if kind == "export":
        found += _originals(request)
    found += [(path, WRITE) for path in _results(kind, request, folder)]
    return found


def prepare(kind: str, temporary: Path | None) -> dict[str, str]:
    """Environment variables that make libraries use only the places that are left open. Makes the folders, as far as
    that's possible.

    Args:
        kind: as in `rules`.
        temporary: as in `rules`.
    """
    # Whoever only looks whether libraries load leaves nothing.
    place = (temporary if kind == "libraries" and temporary else paths.cache_dir()) / "libraries"
    chosen = {name: os.environ.get(name) or str(place / below) for name, below in CACHES.items()}
    for each in chosen.values():
        with suppress(OSError):
            os.makedirs(each, exist_ok=True)
    if temporary is None:
        return chosen
    # The hub's library raises where it finds a token's file that it may not read; who fetches nothing needs none.
    token = {} if kind in ONLINE else {"HF_TOKEN_PATH": str(temporary / "token")}
    return {**chosen, **token, "TMPDIR": str(temporary)}


def _program() -> Iterator[Rule]:
    """This program, its Python and its packages."""
    roots = {sys.prefix, sys.base_prefix, sys.exec_prefix, os.path.dirname(os.path.realpath(sys.executable)),
             str(paths.resources().parent), *sys.path}
    variables = ("LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_PATH", "PYTHONPATH", "SLMSTUDIO_CPUINFO",
                 "SLMSTUDIO_SYS", "VK_DRIVER_FILES", "VK_ICD_FILENAMES")
    roots |= {part for name in variables for part in os.environ.get(name, "").split(os.pathsep)}
    yield from ((Path(root), RUN) for root in sorted(roots) if os.path.isabs(root))


def _system() -> Iterator[Rule]:
    yield from ((Path(path), RUN) for path in SYSTEM)
    yield from ((Path(path), READ) for path in TOLD_BY_SYSTEM)
    # Its own entry, for the highest memory use that it forgets: another process's is closed to it.
    yield Path("/proc/self"), READ | WRITE_FILE | TRUNCATE
    yield Path("/dev/shm"), WRITE
    devices = [*(Path("/dev") / name for name in DEVICES), *Path("/dev").glob("nvidia*")]
    yield from ((path, DEVICE) for path in devices)


def _kept(kind: str) -> Iterator[Path]:
    """What workers keep in the cache for the next ones. The rest of it is closed to them: other jobs' requests, what
    was found of models, and logs, which the window opens."""
    if kind == "libraries":
        return
    for name in (*WORKERS_CACHE, *(FETCHERS_CACHE if kind in ONLINE else ())):
        place = paths.cache_dir() / name
        with suppress(OSError):
            place.mkdir(parents=True, exist_ok=True)
        yield place


def _named(request: Mapping[str, Any]) -> Iterator[Path]:
    """What the request names, and what the runs among it name in turn."""
    waiting, seen = list(_paths(request)), set[Path]()
    while waiting:
        field, path = waiting.pop()
        if path in seen or not os.path.exists(path):
            continue
        seen.add(path)
        yield from _whole(path)
        if field in ROWS:
            yield from _rows(path)
        if os.path.isfile(path / jobs.RUN) and len(seen) < MOST_RUNS:
            with suppress(OSError):
                waiting += [each for each in _paths(files.read_json(path / jobs.RUN) or {}) if _is_believable(*each)]


def _paths(value: Any) -> Iterator[tuple[str, Path]]:
    """The fields of a request that name files and folders, and what they name."""
    if isinstance(value, list):
        for each in value:
            yield from _paths(each)
    elif isinstance(value, Mapping):
        for name in FIELDS:
            found = value.get(name)
            texts = found if isinstance(found, list) else [found]
            yield from ((name, Path(text)) for text in texts if isinstance(text, str) and _is_place(text))
        for name in PARTS:
            yield from _paths(value.get(name))


def _is_place(text: str) -> bool:
    """Whether a text is a path that may be opened."""
    return os.path.isabs(text) and "\0" not in text and not paths.is_too_wide(Path(text))


def _is_believable(field: str, path: Path) -> bool:
    """Whether a run.json may open a path that no person named: it may come from a stranger. What is in our folders
    may be opened, else only what looks like what the field is to hold."""
    whole = Path(os.path.realpath(path))
    ours = (paths.models_dir(), paths.runs_dir(), paths.datasets_dir())
    if any(whole.is_relative_to(os.path.realpath(place)) for place in ours):
        return True
    if field in ROWS:
        from slmstudio.core.data import opening

        return whole.is_file() and opening.has_rows(whole.name)
    return whole.suffix == ".gguf" or any(os.path.isfile(whole / name) for name in MODELS_FILES)


def _whole(path: Path) -> Iterator[Path]:
    """A file or folder with what belongs to it: where links of the hub's cache lead; beside a GGUF file its other
    parts, its proof, and the adapters that fit it."""
    yield path
    place = path if os.path.isdir(path) else path.parent
    with suppress(OSError), os.scandir(place) as entries:
        for each in itertools.islice(entries, MOST_LINKS):
            belongs = place == path or (path.suffix == ".gguf" and (
                each.name.endswith(".gguf") or each.name.startswith(path.stem)))
            if belongs and each.is_symlink():
                yield from _blob(Path(each.path))
            elif belongs and place != path and each.is_file():
                yield Path(each.path)


def _blob(link: Path) -> Iterator[Path]:
    """Where a link of the hub's cache leads. No other links are followed: a model comes from strangers, and could name
    what isn't theirs."""
    folder = link.parent.resolve()
    blobs = folder.parent.parent / "blobs"
    if (folder.parent.name == "snapshots" and blobs.parent.name.startswith(("models--", "datasets--"))
            and link.resolve().is_relative_to(blobs)):
        yield link.resolve()


def _rows(path: Path) -> Iterator[Path]:
    """The files that are read of a folder with rows, wherever links lead: the user has seen their rows."""
    from slmstudio.core.data import opening

    with suppress(OSError, UserError):
        yield from (each.resolve() for each in opening.DataFile(path).files())


def _originals(request: Mapping[str, Any]) -> Iterator[Rule]:
    """Models beside a base that is stored in 4 bits: one of them may be what it was made from."""
    for base in [path for path in _named(request) if os.path.isfile(path / "config.json")]:
        yield base.parent, READ_DIR
        with suppress(OSError), os.scandir(base.parent) as entries:
            yield from ((Path(each.path), READ) for each in itertools.islice(entries, MOST_LINKS)
                        if not each.is_symlink() and os.path.isfile(os.path.join(each.path, "config.json")))


def _results(kind: str, request: Mapping[str, Any], folder: Path | None) -> Iterable[Path]:
    """Where the job writes; a folder that is to hold the result is made, for rules are of what is there."""
    if folder is None:
        return []
    found = [folder]
    if (folder.parent.parent / jobs.RUN).is_file() and folder.parent.name == "jobs":
        found.append(folder.parent.parent)
    out = Path(str(request.get("out") or ""))
    if kind == "export" and _is_place(str(out)):
        found.append(out)
    elif kind in ("import", "fetch_starter") and _is_place(str(out.parent)):
        found.append(out.parent)  # it's made beside its place, and then renamed
    elif kind in ONLINE:
        found += [paths.models_dir(), paths.benchmarks_dir()]
    for each in found:
        with suppress(OSError):
            each.mkdir(parents=True, exist_ok=True)
    return found
