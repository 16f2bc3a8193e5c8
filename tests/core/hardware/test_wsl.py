"""Linux inside Windows, as a tree of files shows it; and which kind of disk a folder lies on."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from slmstudio.core import i18n
from slmstudio.core.hardware import wsl

WSL2, WSL1, OWN = "5.15.153.1-microsoft-standard-WSL2", "4.4.0-19041-Microsoft", "6.6.87-tuned"
MOUNTS = """\
/dev/sdc / ext4 rw,relatime,discard 0 0
none /usr/lib/wsl/drivers 9p ro,aname=drivers 0 0
C:\\134 /mnt/c 9p rw,noatime,aname=drvfs;path=C:\\134;uid=1000 0 0
D:\\134 /mnt/my\\040disk drvfs rw 0 0
nas:/share /srv nfs4 rw 0 0
/dev/sdd /srv/local ext4 rw 0 0
"""


@pytest.fixture
def tree(tmp_path: Path) -> Callable[..., Path]:
    """`tree(memory_gb=8, driver=False)`: the root of a machine's files."""

    def make(release: str = WSL2, memory_gb: int = 32, driver: bool = True, wslconfig: str | None = None) -> Path:
        contents = {"proc/sys/kernel/osrelease": f"{release}\n", "proc/version": f"Linux version {release} (gcc)\n",
                    "proc/mounts": MOUNTS,
                    "proc/meminfo": f"MemTotal:       {memory_gb * 1024**2} kB\nMemFree:  1 kB\n"}
        if driver:
            contents[wsl.DRIVER_LIBRARY] = ""
        if wslconfig is not None:
            contents["mnt/c/Users/Asha/.wslconfig"] = wslconfig
        for name, text in contents.items():
            file = tmp_path / "root" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        return tmp_path / "root"

    return make


@pytest.mark.parametrize(("release", "environ", "expected"), [
    (WSL2, {}, True), (WSL1, {}, True), (OWN, {"WSL_INTEROP": "/run/WSL/9_interop"}, True), (OWN, {}, False)])
def test_where_it_is_wsl(tree, release: str, environ: dict[str, str], expected: bool):
    assert wsl.is_wsl(tree(release), environ) is expected
    assert wsl.is_first_version(tree(release)) is (release == WSL1)


def test_no_files_are_no_wsl(tmp_path: Path):
    assert not wsl.is_wsl(tmp_path, {"WSL_INTEROP": "x"})
    assert wsl.findings(Path("/home/asha"), tmp_path, {}) == []


def test_nothing_to_say_on_linux_itself(tree):
    assert wsl.findings(Path("/mnt/c/slm"), tree(OWN, memory_gb=4, driver=False), {}) == []


def test_nothing_to_say_when_all_is_well(tree):
    assert wsl.findings(Path("/home/asha/slm"), tree(), {}) == []


def test_everything_at_once_each_with_a_remedy(tree):
    driver, place, memory = wsl.findings(Path("/mnt/c/Users/Asha/slm"), tree(memory_gb=8, driver=False), {})
    assert "install NVIDIA's driver in Windows" in driver.remedy and "Never install a Linux driver" in driver.remedy
    assert "/mnt/c/Users/Asha/slm" in place.why and "Linux side" in place.remedy
    assert "8 GB" in memory.why
    assert all(words in memory.remedy for words in (".wslconfig", "[wsl2]", "memory=12GB", "wsl --shutdown"))


def test_findings_have_the_same_ids_in_every_language(tree):
    ids = []
    for language in ("en", i18n.PSEUDO):
        i18n.use(language)
        found = wsl.findings(Path("/mnt/c/slm"), tree(memory_gb=8, driver=False), {})
        ids.append([pickle.loads(pickle.dumps(each)).id for each in found])
    assert ids == [["wsl_no_driver", "wsl_slow_place", "wsl_little_memory"]] * 2


@pytest.mark.parametrize(("wslconfig", "told"), [("[wsl2]\nmemory = 12GB\n", False), ("[wsl2]\n#memory=1GB\n", True)])
def test_who_chose_the_memory_is_told_nothing(tree, wslconfig: str, told: bool):
    found = wsl.findings(Path("/home/asha"), tree(memory_gb=12, wslconfig=wslconfig), {})
    assert len(found) == told


def test_the_first_version_is_named_alone(tree):
    (only,) = wsl.findings(Path("/mnt/c/slm"), tree(WSL1, memory_gb=4, driver=False), {})
    assert "WSL 1" in only.what and "--set-version" in only.remedy


@pytest.mark.parametrize(("path", "kind"), [
    ("/home/asha", "ext4"), ("/mnt/c", "9p"), ("/mnt/c/new", "9p"), ("/mnt/cc", "ext4"), ("/mnt/my disk/x", "drvfs"),
    ("/srv/x", "nfs4"), ("/srv/local/x", "ext4")])
def test_the_innermost_mount_counts(tree, path: str, kind: str):
    assert wsl.file_system(Path(path), tree()) == kind


def test_what_lies_on_another_machine(tree, tmp_path: Path):
    assert wsl.is_network(Path("/srv/x"), tree())
    assert not wsl.is_network(Path("/srv/local"), tree())
    assert wsl.is_network(Path("\\\\nas\\share"), tmp_path / "empty")
    assert wsl.file_system(Path("/srv"), tmp_path / "empty") == ""
