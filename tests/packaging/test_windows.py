"""The Windows installer, its uninstaller and its launcher, under Wine."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import build_app
import build_windows
import pytest
from support.windows_machine import LONGEST, Machine, NoMachine, damage, wait_for

pytestmark = pytest.mark.timeout(900)

SPACES = r"C:\My Programs\SLM Studio"
DEVANAGARI = r"C:\प्रोग्राम\SLM स्टूडियो"
NOT_IN_MANIFEST = {"Uninstall.exe", "slmstudio-folder.txt"}  # made while installing, and what marks the folder
IN_PLACE = f"_?={SPACES}".split(" ")  # NSIS' own word for an uninstaller that works in no copy of itself
RUNNING, REFUSED = 5, 3
MOMENTS = 10
# What may be there after an interruption; the first of each is what must be there as `app` after the next start.
HALF_STATES = (("app.old",), ("app.old", "app.new"), ("app.new",), ("app", "app.new"), ("app", "app.old"),
               ("app", "app.part"), ("app.old", "app.part", "app.new"))


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installer, made by makensis with every warning an error."""
    missing = sorted({package for tool, package in build_windows.TOOLS.items() if shutil.which(tool) is None})
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    work = tmp_path_factory.mktemp("wheel")
    try:
        build_windows.fetch_uv(work)
    except SystemExit as error:
        pytest.skip(f"uv's wheel for Windows cannot be fetched: {error}")
    return build_windows.build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def windows(setup: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    try:
        machine = Machine(tmp_path_factory.mktemp("windows"))
    except NoMachine as error:
        pytest.skip(str(error))
    yield machine
    machine.close()


@pytest.fixture
def machine(windows: Machine) -> Machine:
    windows.reset()
    return windows


def install(machine: Machine, setup: Path, folder: str) -> int:
    return machine.run_when_free(setup, "/S", *f"/D={folder}".split(" "))


def installed(machine: Machine, setup: Path, folder: str) -> Path:
    assert install(machine, setup, folder) == 0
    return machine.path(folder)


def plant_environment(machine: Machine, folder: Path) -> Path:
    """A file of an environment, and a Python in it that writes down how it was started; the path of that note."""
    scripts = folder / "environment" / "Scripts"
    scripts.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(machine.fake_python, scripts / "pythonw.exe")
    return scripts / "started.txt"


def plant_data(machine: Machine) -> dict[Path, str]:
    """Runs and settings of a user; what must be in which file."""
    data = machine.local / "slmstudio"
    texts = {data / "settings.json": '{"format": 1}', data / "runs" / "पहला" / "run.json": "{}"}
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return texts


def make_older(folder: Path) -> None:
    """Make the installed application an older version: one file more, one other."""
    (folder / "app" / "slmstudio" / "__init__.py").write_text('__version__ = "0.0.1"\n')
    (folder / "app" / "slmstudio" / "gone_since.py").write_text("")
    build_app.write_manifest(folder / "app")


def is_older(folder: Path) -> bool:
    return (folder / "app" / "slmstudio" / "gone_since.py").exists()


def check_whole(folder: Path) -> None:
    """Exactly what the manifest says, beside what the program fills itself."""
    assert damage(folder / "app") == []
    assert {name for name in damage(folder) if not name.startswith("environment/")} == NOT_IN_MANIFEST


def kept(texts: dict[Path, str]) -> bool:
    return all(path.is_file() and path.read_text("utf-8") == text for path, text in texts.items())


@pytest.mark.full
def test_the_installer_names_its_version_and_is_far_from_two_gigabytes(setup: Path) -> None:
    content = setup.read_bytes()
    assert setup.name == f"SLMStudio-Setup-{build_app.version()}.exe"
    assert len(content) < 100_000_000
    for text in ("ProductVersion", build_app.version(), "SLM Studio Setup"):
        assert text.encode("utf-16-le") in content


@pytest.mark.full
@pytest.mark.parametrize("folder", [SPACES, DEVANAGARI], ids=["spaces", "Devanagari"])
def test_installed_silently_it_is_whole_and_listed_and_removed_it_leaves_the_data_and_what_is_a_strangers(
        machine: Machine, setup: Path, folder: str) -> None:
    place, data = installed(machine, setup, folder), plant_data(machine)
    check_whole(place)
    assert machine.start_menu.is_file() and machine.desktop.is_file()
    entry = machine.entry()
    assert entry["DisplayName"] == entry["Publisher"] == "SLM Studio"
    assert entry["DisplayVersion"] == build_app.version()
    assert entry["InstallLocation"] == folder
    assert entry["UninstallString"] == f'"{folder}\\Uninstall.exe"'
    assert entry["QuietUninstallString"] == f'"{folder}\\Uninstall.exe" /S'
    assert entry["NoModify"] == "dword:00000001"
    assert int(entry["EstimatedSize"].removeprefix("dword:"), 16) > 10_000  # KiB

    for name in ("environment/Lib/torch.py", "python/cpython-3.12/python.exe", "cache/wheel", "launcher.log",
                 "app/slmstudio/__pycache__/cli.cpython-312.pyc"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("")
    strangers = {place / "notes.txt", place / "app" / "slmstudio" / "notes.txt"}
    for path in strangers:
        path.write_text("a stranger's")
    assert machine.run_when_free(place / "Uninstall.exe", "/S") == 0
    assert wait_for(lambda: not (place / "slmstudio-folder.txt").exists())  # a copy of it works on; this goes last
    assert set(place.rglob("*")) == {*strangers, place / "app", place / "app" / "slmstudio"}
    assert not machine.start_menu.exists() and not machine.desktop.exists()
    assert machine.entry() == {}
    assert kept(data)


@pytest.mark.full
def test_a_folder_with_other_files_is_refused_and_not_touched(machine: Machine, setup: Path) -> None:
    place = machine.path(SPACES)
    (place / "app").mkdir(parents=True)
    (place / "app" / "mine.txt").write_text("mine")
    assert install(machine, setup, SPACES) == REFUSED
    assert [path.name for path in place.rglob("*")] == ["app", "mine.txt"]
    assert install(machine, setup, f"C:\\users\\{machine.user.name}\\AppData\\Local\\slmstudio\\program") == REFUSED
    assert machine.entry() == {}


def test_installed_and_removed_with_their_pages(machine: Machine, setup: Path) -> None:
    data = plant_data(machine)
    outside = machine.drive / "python of another" / "python.exe"
    outside.parent.mkdir()
    shutil.copyfile(machine.fake_python, outside)
    started = outside.parent / "started.txt"
    installer = machine.start(setup, *f"/D={SPACES}".split(" "),
                              SLMSTUDIO_PYTHON="C:\\python of another\\python.exe")
    # Welcome, folder, install, finish: Enter is Next, Install, and Finish, which starts the program.
    machine.press("Return", "SLM Studio Setup", lambda: installer.poll() is not None)
    assert installer.returncode == 0
    place = machine.path(SPACES)
    check_whole(place)
    assert wait_for(started.exists)
    assert started.read_text("utf-16-le").rstrip().endswith(f'"{SPACES}\\app\\packaging\\bootstrap.py" start')

    machine.start(place / "Uninstall.exe")
    machine.press("Return", "SLM Studio Uninstall", lambda: not place.exists())
    assert machine.entry() == {}
    assert kept(data)


@pytest.mark.full
def test_the_data_go_when_that_is_asked_for(machine: Machine, setup: Path) -> None:
    place = installed(machine, setup, SPACES)
    plant_data(machine)
    assert machine.run_when_free(place / "Uninstall.exe", "/S", "/DATA=delete") == 0
    assert wait_for(lambda: not place.exists())
    assert not (machine.local / "slmstudio").exists()


@pytest.mark.full
def test_an_upgrade_keeps_data_and_environment_and_waits_for_a_program_that_runs(machine: Machine, setup: Path) -> None:
    place, data = installed(machine, setup, SPACES), plant_data(machine)
    make_older(place)
    machine.desktop.unlink()
    started = plant_environment(machine, place)
    machine.hold.touch()
    assert machine.run_when_free(place / "SLMStudio.exe", "/S") == 0
    assert wait_for(started.exists)
    assert install(machine, setup, SPACES) == RUNNING
    assert machine.run_when_free(place / "Uninstall.exe", "/S", *IN_PLACE) == RUNNING
    assert is_older(place) and damage(place / "app") == []
    assert machine.entry() != {}

    machine.hold.unlink()
    assert wait_for(lambda: install(machine, setup, SPACES) == 0)
    check_whole(place)
    assert not is_older(place)
    assert kept(data) and started.exists()
    assert machine.start_menu.is_file()
    assert not machine.desktop.exists()  # its user had deleted it


@pytest.mark.full
def test_killed_at_ten_moments_what_is_there_starts_and_the_next_run_repairs(machine: Machine, setup: Path) -> None:
    place, data = installed(machine, setup, SPACES), plant_data(machine)
    started = plant_environment(machine, place)
    make_older(place)
    older = machine.folder / "older"
    shutil.copytree(place / "app", older)
    begin = time.monotonic()
    installed(machine, setup, SPACES)
    duration = time.monotonic() - begin

    cut_off = 0
    for moment in range(MOMENTS):
        shutil.rmtree(place / "app")
        shutil.copytree(older, place / "app")
        started.unlink(missing_ok=True)
        installer = machine.start(setup, "/S", *f"/D={SPACES}".split(" "))
        cut_off += kill_in(installer, duration * (moment + 0.5) / MOMENTS)
        assert machine.run_when_free(place / "SLMStudio.exe", "/S") == 0
        assert wait_for(started.exists)
        assert damage(place / "app") == []  # the old version or the new one, whole
        assert wait_for(lambda: install(machine, setup, SPACES) == 0)
        check_whole(place)
        assert not is_older(place)
    assert cut_off
    assert kept(data)
    shutil.rmtree(older)


@pytest.mark.full
def test_a_removal_that_was_killed_is_finished_by_the_next_or_repaired_by_the_installer(
        machine: Machine, setup: Path) -> None:
    place, data = installed(machine, setup, SPACES), plant_data(machine)
    begin = time.monotonic()
    assert machine.run_when_free(place / "Uninstall.exe", "/S", *IN_PLACE) == 0
    duration = time.monotonic() - begin
    for moment in range(4):
        installed(machine, setup, SPACES)
        check_whole(place)
        kill_in(machine.start(place / "Uninstall.exe", "/S", *IN_PLACE), duration * (moment + 0.5) / 4)
    assert machine.run_when_free(place / "Uninstall.exe", "/S") == 0
    assert wait_for(lambda: not place.exists())
    assert machine.entry() == {}
    assert not machine.start_menu.exists() and not machine.desktop.exists()
    assert kept(data)


@pytest.mark.full
def test_a_removal_that_cannot_delete_everything_says_so_and_can_be_repeated(machine: Machine, setup: Path) -> None:
    place = installed(machine, setup, SPACES)
    tool = place / "environment" / "Lib" / "tool.exe"
    tool.parent.mkdir(parents=True)
    shutil.copyfile(machine.fake_python, tool)
    machine.hold.touch()
    running = machine.start(tool)
    assert wait_for(tool.with_name("started.txt").exists)
    assert machine.run_when_free(place / "Uninstall.exe", "/S", *IN_PLACE) == RUNNING
    assert machine.entry() != {}

    machine.hold.unlink()
    assert running.wait(LONGEST) == 0
    assert machine.run_when_free(place / "Uninstall.exe", "/S") == 0
    assert wait_for(lambda: not place.exists())
    assert machine.entry() == {}


def kill_in(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Kill a process after some time, unless it has ended before; whether it was killed."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True
    return False


@pytest.mark.full
def test_the_launcher_ends_every_half_state(machine: Machine, setup: Path) -> None:
    place = installed(machine, setup, DEVANAGARI)
    started = plant_environment(machine, place)
    application = machine.path(r"C:\application")
    (place / "app").rename(application)
    for state in HALF_STATES:
        shutil.rmtree(place / "app", ignore_errors=True)
        started.unlink(missing_ok=True)
        for name in state:
            shutil.copytree(application, place / name)
            (place / name / "which.txt").write_text(name)
        assert machine.run_when_free(place / "SLMStudio.exe", "/S") == 0
        assert wait_for(started.exists), state
        assert (place / "app" / "which.txt").read_text() == state[0], state
        assert not list(place.glob("app.*")), state


@pytest.mark.full
def test_the_launcher_without_a_network_says_so_retries_and_closes_and_takes_a_python_that_is_there(
        machine: Machine, setup: Path) -> None:
    place = installed(machine, setup, DEVANAGARI)
    sentence = "Python couldn't be downloaded. Check that this computer reaches the internet"
    log = place / "launcher.log"

    def failed() -> bool:
        return log.exists() and sentence in log.read_text("utf-8", "replace")

    unreachable = dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
    launcher = machine.start(place / "SLMStudio.exe", UV_HTTP_RETRIES="0", NO_PROXY="", **unreachable)
    assert wait_for(failed)
    first = log.stat().st_mtime_ns
    machine.press("Return", "SLM Studio", lambda: log.stat().st_mtime_ns != first)
    assert wait_for(failed)
    machine.press("Escape", "SLM Studio", lambda: launcher.poll() is not None)
    assert not list((place / "python").glob("cpython-*"))

    started = plant_environment(machine, place)
    own = place / "python" / "cpython-3.12-windows-x86_64-none" / "pythonw.exe"
    own.parent.mkdir(parents=True)
    shutil.copyfile(machine.fake_python, own)
    machine.hold.touch()
    assert machine.run_when_free(place / "SLMStudio.exe", "/S") == 0
    assert wait_for(own.with_name("started.txt").exists)  # the environment's own couldn't make the environment anew
    assert not started.exists()
    assert install(machine, setup, DEVANAGARI) == RUNNING
    machine.hold.unlink()

    nowhere = machine.run_when_free(place / "SLMStudio.exe", "/S", SLMSTUDIO_PYTHON=r"C:\nowhere\python.exe")
    assert nowhere == 2
    shutil.rmtree(place / "app")
    assert machine.run_when_free(place / "SLMStudio.exe", "/S") == 2  # parts are missing
