"""`setup` finds what was changed by hand since the environment was set up, and puts it right."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import bootstrap
import pytest
import setup_drift
from support import small_project

from slmstudio.core.hardware.doctor import checks_libraries

LINES = "# words\nnumpy==2.9  # why\nPySide6_Essentials==6.1\ntorch>=2.10\nllama-cpp-python==0.3\nx==1 ; y == 'z'\n"
NOTE = "__version__ = '2.13.0'\ncuda: Optional[str] = {}\nhip: Optional[str] = None\n"


@pytest.fixture
def made(tmp_path: Path) -> Iterator[SimpleNamespace]:
    """An environment as the setup left it, beside a card."""
    install(tmp_path, "numpy", "2.9")
    install(tmp_path, "pyside6_essentials", "6.1")
    install(tmp_path, "torch", "2.13.0+cu130", {"torch/version.py": NOTE.format("'13.0'")})
    yield SimpleNamespace(environment_python=lambda: "3.11", site_packages=lambda tag: str(tmp_path),
                          read=lambda name: LINES, has_nvidia_driver=lambda: True, folder=tmp_path)


def install(site: Path, name: str, version: str, files: dict[str, str] | None = None) -> None:
    for old in site.glob(f"{name}-*.dist-info"):
        shutil.rmtree(old)
    wheel = small_project.a_wheel(site, name, version, files or {f"{name}.py": "x = 1\n"})
    shutil.unpack_archive(wheel, site, "zip")
    wheel.unlink()


def test_nothing_is_done_again_where_nothing_has_changed(made):
    assert setup_drift.steps(made) == []


def test_another_version_a_missing_and_a_damaged_package(made):
    install(made.folder, "numpy", "1.26")
    assert setup_drift.steps(made) == ["Libraries"]
    install(made.folder, "numpy", "2.9")
    (made.folder / "numpy.py").write_text("")
    assert setup_drift.steps(made) == ["Libraries"]
    install(made.folder, "numpy", "2.9")
    shutil.rmtree(made.folder / "pyside6_essentials-6.1.dist-info")
    assert setup_drift.steps(made) == ["Libraries"]


@pytest.mark.parametrize(("version", "cuda", "driver", "again"), [
    ("2.13.0+cpu", "None", True, ["PyTorch"]), ("2.13.0+cpu", "None", False, []), ("2.13.0", "'12.8'", True, []),
    ("2.5.1+cu124", "'12.4'", True, ["PyTorch"]), ("2.9.1", "'12.8'", False, ["PyTorch"]),
    ("2.10.0", "'12.8'", True, [])])
def test_the_build_of_pytorch(made, version, cuda, driver, again):
    install(made.folder, "torch", version, {"torch/version.py": NOTE.format(cuda)})
    made.has_nvidia_driver = lambda: driver
    assert setup_drift.steps(made) == again


def test_what_the_set_up_installs_is_not_too_old_for_it(made):
    """One floor: else each `setup` would install the same PyTorch again."""
    made.read = lambda name: LINES.replace("torch>=2.10", "torch>=2.6")
    for version, again in (("2.6.0", []), ("2.5.1", ["PyTorch"])):
        install(made.folder, "torch", version, {"torch/version.py": NOTE.format("'12.4'")})
        assert setup_drift.steps(made) == again


def test_nothing_is_installed_with_a_known_fault():
    from packaging.version import Version

    needed = [Version(each.fixed) for each in checks_libraries.KNOWN if each.package == "torch"]
    assert all(Version(bootstrap.requirement("torch").partition(">=")[2]) >= each for each in needed) and needed


def test_without_an_environment_everything_is_done_anyway(made):
    made.environment_python = lambda: ""
    assert setup_drift.steps(made) == []


@pytest.mark.skipif(not bootstrap.is_ready(False), reason="this environment was not made by the set-up")
def test_the_environment_of_the_tests_has_not_changed():
    assert setup_drift.steps(bootstrap) == []


@pytest.mark.full
@pytest.mark.skipif(sys.platform != "linux", reason="looks at Linux's own way")
def test_setup_puts_a_version_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    wheels = small_project.make_wheels(tmp_path / "wheels")
    project = small_project.make(tmp_path / "project", wheels)
    for name, value in small_project.pip_environment(wheels).items():
        monkeypatch.setenv(name, value)
    small_project.set_up(project)
    assert small_project.set_up(project) == []
    site = Path(small_project.load(project).site_packages(f"{sys.version_info.major}.{sys.version_info.minor}"))
    install(site, "numpy", "1.0", {"numpy/__init__.py": "VALUE = 0\n"})
    assert small_project.set_up(project) == ["System libraries", "Libraries", "Check"]
    assert (site / "numpy" / "__init__.py").read_text() == "VALUE = 1\n"
    assert [place.name for place in site.glob("numpy-*.dist-info")] == ["numpy-2.9.dist-info"]
