"""llama.cpp has no wheel in the index: what is at hand, its own index, a compiler, or the studio without chat."""

from __future__ import annotations

import functools
import http.server
import io
import json
import os
import shutil
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import setup_backends
from support import small_project

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the project's programs are found as on Linux")
WHEEL = "llama_cpp_python-2.9-py3-none-any.whl"
BUILDER = '''"""Builds the wheel by taking it out of a pocket, or fails as CMake does."""
import os, pathlib, shutil, sys

def build_wheel(folder, settings=None, metadata=None):
    name = "llama_cpp_python-2.9-py3-none-any.whl"
    if not pathlib.Path(name).exists():
        sys.exit("CMake Error: the compiler is not able to compile a simple test program")
    tag = os.environ.get("SKBUILD_WHEEL_BUILD_TAG", "")  # as scikit-build-core has it
    made = name.replace("-py3", f"-{tag}-py3") if tag else name
    shutil.copyfile(name, pathlib.Path(folder) / made)
    return made
'''
BUILD = '[build-system]\nrequires = []\nbuild-backend = "builder"\nbackend-path = ["."]\n'


@pytest.fixture
def wheels(tmp_path) -> Path:
    return small_project.make_wheels(tmp_path / "wheels")


@pytest.fixture
def project(tmp_path, wheels, monkeypatch) -> Path:
    """A project whose folder of wheels has none of llama.cpp, on a machine without a compiler that pip never used."""
    for name, value in small_project.pip_environment(wheels).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PIP_CACHE_DIR", str(tmp_path / "cache"))
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "env", "fc-list", "apt-get"):
        (tools / name).symlink_to(shutil.which(name) or "/bin/false")
    monkeypatch.setenv("PATH", str(tools))
    (tmp_path / "elsewhere").mkdir()
    (wheels / WHEEL).rename(tmp_path / "elsewhere" / WHEEL)
    root = small_project.make(tmp_path / "project", wheels)
    system = root / "packaging" / "setup_system.py"  # a person who isn't root: nothing is installed for them
    system.write_text(system.read_text("utf-8").replace("os.geteuid()", "1000"), "utf-8")
    return root


def reason(project: Path) -> str:
    file = project / ".venv" / "chat-engine.txt"
    return file.read_text("utf-8") if file.exists() else ""


def a_source(wheels: Path, wheel: Path | None) -> None:
    """A source distribution of llama.cpp, whose building gives `wheel` or fails."""
    files = {"pyproject.toml": BUILD.encode(), "builder.py": BUILDER.encode(),
             "PKG-INFO": b"Metadata-Version: 2.1\nName: llama_cpp_python\nVersion: 2.9\n"}
    if wheel:
        files[WHEEL] = wheel.read_bytes()
    with tarfile.open(wheels / "llama_cpp_python-2.9.tar.gz", "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(f"llama_cpp_python-2.9/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def test_without_any_way_the_rest_is_set_up_and_the_next_set_up_gets_it(project, wheels, tmp_path):
    steps = small_project.set_up(project)
    assert steps[-1] == "Check" and small_project.load(project).is_ready(False)
    assert "needs a C++ compiler. Run: sudo apt install g++ gcc make. Then run setup again: python3" in reason(project)
    (tmp_path / "elsewhere" / WHEEL).rename(wheels / WHEEL)
    assert "llama.cpp" in small_project.set_up(project)
    assert reason(project) == ""
    assert small_project.set_up(project) == []


@pytest.fixture
def own_index(tmp_path) -> Iterator[str]:
    """Its own index, on this machine."""
    folder = tmp_path / "index" / "llama-cpp-python"
    folder.mkdir(parents=True)
    shutil.copyfile(tmp_path / "elsewhere" / WHEEL, folder / WHEEL)
    (folder / "index.html").write_text(f'<!DOCTYPE html><html><body><a href="{WHEEL}">{WHEEL}</a></body></html>')

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path / "index"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.full
def test_its_own_index_comes_before_the_compiler(project, wheels, own_index):
    a_source(wheels, None)
    small_project.set_up(project, SLMSTUDIO_LLAMA_INDEX=own_index, PIP_NO_INDEX="0",
                         PIP_INDEX_URL="http://127.0.0.1:9/simple", PIP_RETRIES="0")
    assert reason(project) == ""


@pytest.fixture
def compiler(tmp_path):
    for name in ("cc", "c++", "make"):
        (tmp_path / "tools" / name).symlink_to("/bin/true")


@pytest.mark.full
def test_the_compiler_is_the_last_resort(project, wheels, tmp_path, compiler):
    a_source(wheels, tmp_path / "elsewhere" / WHEEL)
    small_project.set_up(project)
    assert reason(project) == ""


@pytest.mark.full
def test_compiling_that_fails_is_told_and_the_rest_works(project, wheels, compiler):
    a_source(wheels, None)
    assert small_project.set_up(project)[-1] == "Check"
    assert reason(project).startswith("Compiling failed. Install a C++ compiler")


@pytest.mark.full
def test_a_wheel_that_does_not_load_is_not_taken(project, wheels):
    small_project.a_wheel(wheels, "llama_cpp_python", "2.9",
                          {"llama_cpp/__init__.py": "raise OSError('libgomp.so.1: cannot open shared object file')\n"})
    small_project.set_up(project)
    assert "C++ compiler" in reason(project)
    packages = Path(small_project.load(project).site_packages(f"{sys.version_info.major}.{sys.version_info.minor}"))
    assert not (packages / "llama_cpp").exists()  # the program asks whether it is there


@pytest.mark.full
def test_the_tests_need_it(project):
    process = small_project.start(project, "test", "--version")
    _, said = process.communicate(timeout=110)
    assert process.returncode == 2 and os.path.exists(project / ".venv")
    assert "sudo apt install" in said and " g++ gcc make " in said


# -- for graphics cards

VULKAN = "llama_cpp_python-2.9-1vulkan-py3-none-any.whl"


def device(project: Path) -> dict[str, str]:
    return json.loads((project / ".venv" / "chat-device.json").read_text("utf-8"))


@pytest.fixture
def with_vulkan(tmp_path, monkeypatch, compiler):
    """What compiling Vulkan's backend needs, and a user who hasn't chosen."""
    (tmp_path / "tools" / "glslc").symlink_to("/bin/true")
    monkeypatch.setenv("VULKAN_SDK", str(tmp_path))
    monkeypatch.setenv("SLMSTUDIO_CHAT_DEVICE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.mark.full
def test_it_is_compiled_for_cards_once_and_the_choice_can_be_changed(project, wheels, tmp_path, with_vulkan):
    a_source(wheels, tmp_path / "elsewhere" / WHEEL)
    small_project.set_up(project)
    assert device(project) == {"choice": "auto", "device": "vulkan", "reason": ""}
    assert (tmp_path / "cache" / "slmstudio" / VULKAN).exists()
    (wheels / "llama_cpp_python-2.9.tar.gz").unlink()
    shutil.rmtree(project / ".venv")
    small_project.set_up(project)
    assert device(project)["device"] == "vulkan"
    assert "llama.cpp" in small_project.set_up(project, "--chat-device", "cpu")
    assert device(project) == {"choice": "cpu", "device": "cpu", "reason": ""}
    assert "llama.cpp" in small_project.set_up(project, "--chat-device", "vulkan", BOOTSTRAP_TEST_DRIVER="crashes")
    assert device(project)["device"] == "cpu" and "crashed" in device(project)["reason"]


@pytest.mark.full
def test_without_what_vulkan_needs_it_is_said_and_the_plain_one_is_taken(project, wheels, tmp_path, monkeypatch):
    monkeypatch.setenv("SLMSTUDIO_CHAT_DEVICE", "")
    monkeypatch.delenv("VULKAN_SDK", raising=False)
    (tmp_path / "elsewhere" / WHEEL).rename(wheels / WHEEL)
    small_project.set_up(project)
    found = device(project)
    assert (found["choice"], found["device"]) == ("auto", "cpu")
    assert "glslc" in found["reason"] and found["reason"].endswith("setup --chat-device vulkan")


def test_the_processor_is_told_by_its_instruction_sets(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor : 0\nflags\t\t: sse4_2 avx avx2 bmi2 fma f16c avx512f\n")
    told = setup_backends._this_processor(cpuinfo)
    assert {"-DGGML_AVX2=ON", "-DGGML_AVX512=OFF"} <= set(told)
    assert setup_backends._this_processor(tmp_path / "none") == ["-DGGML_CPU_ALL_VARIANTS=ON"]
