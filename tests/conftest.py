"""Fixtures that several suites share."""

from __future__ import annotations

import functools
import gc
import json
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from pytestqt.qtbot import QtBot

sys.path.insert(0, str(Path(__file__).parent))

from support import once, tiers

from slmstudio.core import i18n

# A screen as people have one: the platform's own is 800×800, and a window makes itself no larger than its screen.
if os.environ.setdefault("QT_QPA_PLATFORM", "offscreen") == "offscreen":
    os.environ["QT_QPA_PLATFORM"] = f"offscreen:configfile={Path(__file__).with_name('screen.json')}"
os.environ["SLMSTUDIO_LANGUAGE"] = "en"  # whatever the system speaks, for child processes, too
# As for the workers: threads that wait must not spin, or training inside the tests takes many times as long beside
# other work.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
# Several processes of tests share the cores: if each had several threads, these would wait for one another's cores, and
# an answer of llama.cpp took six times the processor's time. NumPy's threads know a name of their own for it. tests/e2e
# lifts the limits.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_THREAD_LIMIT", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# A power cut is no part of any test, and some hundred files are written for each window's.
os.fsync = lambda descriptor: None
# What a shell starts in the background ignores Ctrl+C, and so would every program that the tests start and interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
PATIENCE = 60_000
"""Milliseconds that a test waits at least before it says that something didn't come: pytest-qt's five seconds fail on
a machine that is busy with other things."""


@pytest.fixture(autouse=True)
def threads_as_limited() -> Iterator[None]:
    """No test leaves PyTorch with more threads than OpenMP may start: oneDNN's products would be garbage from then on
    (`worker.runtime.threads.use`)."""
    yield
    if "PYTEST_XDIST_WORKER" in os.environ and (torch := sys.modules.get("torch")) is not None and (
            torch.get_num_threads() > 1):
        torch.set_num_threads(1)


def _patient(wait: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(wait)
    def with_patience(*arguments: Any, timeout: int = PATIENCE, **options: Any) -> Any:
        return wait(*arguments, timeout=max(timeout, PATIENCE), **options)

    return with_patience


for _name in ("waitUntil", "waitSignal", "waitSignals", "waitCallback", "waitExposed", "waitActive"):
    setattr(QtBot, _name, _patient(getattr(QtBot, _name)))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run the tests marked full too, and fail where a test is "
                     "skipped for a reason that tests/skips.py does not list")


def pytest_configure(config: pytest.Config) -> None:
    tiers.full = config.getoption("full")
    # A machine under load is slow at making examples too, which says nothing of what is tested. The fast tier draws the
    # same examples everywhere; the full one searches.
    hypothesis_settings.register_profile("any machine", deadline=None, max_examples=tiers.examples(100),
                                         derandomize=not tiers.full, suppress_health_check=[HealthCheck.too_slow])
    hypothesis_settings.load_profile("any machine")


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector
                               ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Where several processes collect the tests, every second one begins with the last file: what a process comes to
    later, another has compiled by then, with its assertions rewritten. In a fresh clone each compiled all of it."""
    report = yield
    if isinstance(collector, pytest.Directory) and os.environ.get("PYTEST_XDIST_WORKER", "")[-1:] in {*"13579"}:
        report.result.reverse()
    return report


LONGEST_FIRST = ("e2e", "packaging", "process", "worker", "gui", "core")
"""Suites by how long a file of theirs takes: where several processes share the tests, none is left with a long one. Of
core, the files that lie in no room of it start processes, and come first."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    order = {name: place for place, name in enumerate(LONGEST_FIRST)}

    def place(item: pytest.Item) -> tuple[int, int, str]:
        parts = item.path.parts
        return next((order[part] for part in parts if part in order), len(order)), len(parts), str(item.path)

    items.sort(key=place)
    if not config.getoption("full"):
        left = [item for item in items if item.get_closest_marker("full") is not None]
        if left:
            config.hook.pytest_deselected(items=left)
            items[:] = [item for item in items if item.get_closest_marker("full") is None]


def pytest_collection_finish() -> None:
    """The modules that were imported live to the end: no collection of garbage has to look through them any more, which
    took a second after each file of the window's tests."""
    gc.collect()
    gc.freeze()


UNLISTED: dict[str, str] = {}
"""Skips of this session that aren't on the list: what was skipped, and why. Filled where the reports arrive, which is
the controller where pytest-xdist has several workers."""

UNLISTED_STATUS = 10
"""The exit status then: not that of tests which failed, for these may pass when they are run alone."""


def _note_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail") and isinstance(report.longrepr, tuple):
        import skips

        if not skips.is_allowed(reason := report.longrepr[2]):
            UNLISTED[report.nodeid] = reason


pytest_runtest_logreport = pytest_collectreport = _note_skip


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    ran = session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    if UNLISTED and session.config.getoption("full") and ran:
        session.exitstatus = UNLISTED_STATUS


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if UNLISTED and config.getoption("full"):
        terminalreporter.section("skipped for a reason that tests/skips.py does not list", red=True)
        for name, reason in UNLISTED.items():
            terminalreporter.line(f"{name}: {reason}")


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    """Each test begins in English, whatever language the one before it chose."""
    yield
    i18n.use("en")


@pytest.fixture
def studio_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place for runs, models and settings, for this process and its children."""
    monkeypatch.setenv("SLMSTUDIO_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="module")
def garbage_stays_here() -> Iterator[None]:
    """No other thread collects garbage: it would destroy what is left of a test's widgets, and the program with it."""
    gc.disable()
    before = gc.get_freeze_count()
    yield
    if frozen := gc.get_freeze_count() > before:  # the Data tab freezes what it has read
        gc.unfreeze()
    gc.collect()
    if frozen:
        gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _nobodys_home(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What a worker keeps beside its run, as rows that are tokens already, goes to no person's own folder."""
    os.environ.setdefault("SLMSTUDIO_HOME", str(tmp_path_factory.mktemp("home")))
    # Nor are the models and the tokens of the person who runs the tests any of theirs.
    nothing = str(tmp_path_factory.mktemp("nothing"))
    for name in ("HF_HUB_CACHE", "OLLAMA_MODELS", "HF_TOKEN_PATH"):
        os.environ[name] = os.path.join(nothing, name)
    os.environ.pop("HF_TOKEN", None)
    os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.null.Keyring"


@pytest.fixture(scope="session", autouse=True)
def _made_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    once.begin(tmp_path_factory)


@pytest.fixture(scope="session")
def tiny_model() -> Path:
    """A real model folder that trains in a second."""
    from support import tiny_model

    return once.made_once("tiny-models", lambda folder: tiny_model.build(folder / "tiny")) / "tiny"


@pytest.fixture(scope="session")
def families() -> Path:
    """The tiny model folders of all families, by their names."""
    from support import family_models

    return once.made_once("families", family_models.build_all)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Small cuts of public data sets, and chat templates; see the README there."""
    return Path(__file__).parent / "data"


@pytest.fixture
def rows_file(tmp_path: Path) -> Path:
    """Eight rows in two scripts."""
    from support import tiny_model

    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in tiny_model.ROWS), encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def fake_nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled fake of NVIDIA's management library."""
    from support.fake_nvml import build

    if sys.platform != "linux":
        pytest.skip("the fake NVML is built for Linux only")
    if build.compiler() is None:
        pytest.skip("the fake NVML needs a C compiler (cc, gcc, clang or $CC)")
    return build.build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def fake_nvml(fake_nvml_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An RTX 3060 that this process and its children see; `fake_nvml.set(temperature=83)` heats it up."""
    from support.fake_nvml.build import FakeNvml

    fake = FakeNvml(fake_nvml_library, tmp_path / "nvml" / "state")
    if not fake.loaded:
        pytest.skip("the real NVML is loaded in this process already")
    # A locked worker reads where libraries lie, and nowhere else in a test's folder.
    monkeypatch.setenv("LD_LIBRARY_PATH", fake.env["LD_LIBRARY_PATH"])
    monkeypatch.setenv("FAKE_NVML_STATE", fake.env["FAKE_NVML_STATE"])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return fake


@pytest.fixture
def processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """`processor(bf16=False)`: this process and its children take the processor for one without bf16 arithmetic.

    They read of it in a file like /proc/cpuinfo. PyTorch asks the processor itself, and computes what it lacks the slow
    way.
    """

    def choose(bf16: bool) -> None:
        if bf16 and sys.platform != "linux":
            pytest.skip("looks at Linux's own way")
        file = tmp_path / "cpuinfo"
        file.write_text("model name\t: Trial 3000\nflags\t\t: fpu sse2 avx2" + " avx512_bf16" * bf16 + "\n")
        monkeypatch.setenv("SLMSTUDIO_CPUINFO", str(file))

    return choose


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The chat engine isn't found in this process."""
    from support import no_llama

    monkeypatch.delitem(sys.modules, "llama_cpp", raising=False)
    monkeypatch.setattr(sys, "meta_path", [no_llama.Hidden, *sys.meta_path])


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch):
    """`play("start steps:5 die")`: the next worker is the fake one of tests/process, and does this."""
    fake = Path(__file__).parent / "support" / "fake_worker.py"

    def choose(words: str) -> None:
        monkeypatch.setenv("SLMSTUDIO_WORKER", json.dumps([sys.executable, str(fake)]))
        monkeypatch.setenv("FAKE_WORKER", words)

    return choose
