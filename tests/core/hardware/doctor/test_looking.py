"""Facts are found in files: faults planted as a machine's files are seen."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from slmstudio.core.hardware.doctor import gather, system
from slmstudio.core.hardware.doctor.facts import Card, Torch
from slmstudio.core.hardware.doctor.gather import examine

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="looks at Linux's own way")
IDS = """\
# a comment
1002  Advanced Micro Devices, Inc. [AMD/ATI]
\t15bf  Phoenix1 [Radeon 780M]
\t744c  Navi 31 [Radeon RX 7900 XT/7900 XTX/7900 GRE/7900M]
10de  NVIDIA Corporation
\t2504  GA106 [GeForce RTX 3060 Lite Hash Rate]
\t\t1043 8810  A subsystem
8086  Intel Corporation
\te20b  Battlemage G21 [Arc B580]
\ta780  Raptor Lake-S GT1 [UHD Graphics 770]
"""
OPEN_MODULE = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  560.35.03  Release Build  (dvs@x)\nGCC 12.3.0\n"
CLOSED_MODULE = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 2024\n"


@pytest.fixture
def tree(tmp_path: Path) -> Callable[..., Path]:
    """`tree({"proc/x": "text"})`: a machine with these files."""

    def make(files: dict[str, str]) -> Path:
        for name, text in files.items():
            file = tmp_path / "root" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return tmp_path / "root"

    return make


def device(slot: str, vendor: str, number: str, kind: str = "0x030000", **more: str) -> dict[str, str]:
    files = {"vendor": f"0x{vendor}\n", "device": f"0x{number}\n", "class": f"{kind}\n", **more}
    return {f"{system.PCI}/0000:{slot}/{name}": text for name, text in files.items()}


@pytest.mark.parametrize(("slot", "vendor", "number", "more", "found"), [
    ("01:00.0", "10de", "2504", {}, Card(0x10DE, 0x2504, "GeForce RTX 3060 Lite Hash Rate")),
    ("03:00.0", "1002", "744c", {"mem_info_vram_total": str(24 * 1024**3)},
     Card(0x1002, 0x744C, "Radeon RX 7900 XT/7900 XTX/7900 GRE/7900M")),
    ("c4:00.0", "1002", "15bf", {"mem_info_vram_total": str(512 * 1024**2)},
     Card(0x1002, 0x15BF, "Radeon 780M", integrated=True)),
    ("c4:00.0", "1002", "15bf", {}, Card(0x1002, 0x15BF, "Radeon 780M", integrated=True)),
    ("00:02.0", "8086", "a780", {}, Card(0x8086, 0xA780, "UHD Graphics 770", integrated=True)),
    ("03:00.0", "8086", "e20b", {}, Card(0x8086, 0xE20B, "Arc B580")),
    ("03:00.0", "8086", "ffff", {}, Card(0x8086, 0xFFFF, "")),
])
def test_a_card_on_the_bus(tree, slot, vendor, number, more, found):
    files = device(slot, vendor, number, **more) | device("00:1f.0", "8086", "7a04", "0x060100")
    assert system.on_bus(tree(files | {system.NAMES[1]: IDS})) == (found,)


def test_the_kernels_driver_of_a_card(tree, tmp_path: Path):
    root = tree(device("01:00.0", "10de", "2504"))
    (root / "drivers/nouveau").mkdir(parents=True)
    (root / system.PCI / "0000:01:00.0/driver").symlink_to(root / "drivers/nouveau")
    assert system.on_bus(root) == (Card(0x10DE, 0x2504, "", "nouveau"),)
    assert system.on_bus(tmp_path / "nothing") == ()


@pytest.mark.parametrize(("text", "version"), [
    (OPEN_MODULE, "560.35.03"), (CLOSED_MODULE, "535.183.01"), ("nothing\n", None), (None, None)])
def test_the_version_that_the_kernel_has_loaded(tree, text, version):
    assert system.kernel_driver(tree({system.KERNEL_DRIVER: text} if text else {})) == version


def test_the_drivers_library_is_asked(fake_nvml):
    fake_nvml.set(driver_version="535.183.01")
    assert system.nvidia_driver()[0] == "535.183.01"


@pytest.mark.parametrize(("state", "why", "remedy"), [
    ({"init": "LIB_RM_VERSION_MISMATCH"}, "The NVIDIA driver was updated, and its old version is still loaded.",
     "Restart the machine."),
    ({"init": "DRIVER_NOT_LOADED"}, "The NVIDIA driver is installed but not loaded.",
     "Restart the machine; if that doesn't help, install the driver again."),
    ({"init": "NO_PERMISSION"}, "This user account may not use the NVIDIA driver.",
     "Ask an administrator for access to the GPU."),
    ({"init": "GPU_NOT_FOUND"}, "The NVIDIA driver is installed, but it sees no GPU.",
     "Check that the card sits firmly and has power, or that the laptop's graphics settings switch it on."),
    ({"every_query": "GPU_IS_LOST"}, "The GPU no longer answers.",
     "Restart the machine; if it happens again, check the card's power cables and cooling, and update the driver."),
])
def test_a_driver_in_trouble(tree, fake_nvml, state, why, remedy):
    fake_nvml.set(**state)
    wrong = [line for line in examine(gather.at_once(tree({}), {})) if line.state != "fine"]
    (found,) = [line for line in wrong if line.code == "driver"]
    assert (found.state, found.why, found.remedy) == ("problem", why, remedy)


def test_planted_files_become_findings(tree, fake_nvml):
    root = tree({system.KERNEL_DRIVER: OPEN_MODULE} | device("03:00.0", "8086", "e20b") | {system.NAMES[0]: IDS})
    fake_nvml.set(driver_version="535.183.01")
    found = {line.code: line for line in examine(gather.at_once(root, {"CUDA_VISIBLE_DEVICES": ""}))}
    assert found["two_drivers"].why.startswith("The kernel has loaded 560.35.03, and the libraries are from 535.183.01")
    assert found["torch"].state == "problem"  # the tests' environment has the build for processors
    assert found["intel"].title == "Intel Arc B580 drives the display."


def test_a_machine_with_many_faults_in_its_files(tree, tmp_path: Path):
    """No GPU is faked here: the card is an Intel Arc, in a container of 1 GB, on a network drive, and so on."""
    home = tmp_path / "home"
    (home / "runs").mkdir(parents=True)
    ahead = time.time() + 9 * 86_400
    os.utime(home / "runs", (ahead, ahead))
    number = home.stat().st_dev
    everything = {
        system.NAMES[0]: IDS, "proc/cpuinfo": "flags : fpu sse2\n", "proc/self/cgroup": "0::/\n",
        "sys/fs/cgroup/memory.max": str(1024**3), "proc/mounts": f"nas:/x {home} nfs4 rw 0 0\n",
        "sys/firmware/acpi/platform_profile": "low-power\n", system.KERNEL_DRIVER: CLOSED_MODULE,
        f"sys/dev/block/{os.major(number)}:{os.minor(number)}/queue/rotational": "1\n",
        "usr/share/fonts/NotoSansDevanagari-Regular.ttf": ""}
    root = tree(everything | device("03:00.0", "8086", "e20b"))
    facts = gather.everything(home, [("A cache", home)], root, {"LC_ALL": "xx_YY.UTF-8"})
    found = {line.code: line.state for line in examine(facts) if line.state != "fine"}
    wanted = {"intel": "warning", "processor": "problem", "memory_limit": "warning", "disk": "warning",
              "power": "warning", "clock": "warning", "fonts": "warning", "locale": "warning"}
    if shutil.which("locale") is None:
        del wanted["locale"]
    if facts.machine.gpus:
        del wanted["intel"]
    # What this very machine has of its own (its versions, its swap) isn't the matter here.
    assert {code: found.get(code) for code in wanted} == wanted
    assert facts.rotational is True and facts.kernel_driver == "535.183.01" and facts.write_speed is None


@pytest.mark.parametrize(("files", "limit"), [
    ({"proc/self/cgroup": "0::/user.slice\n", "sys/fs/cgroup/user.slice/memory.max": "8589934592\n",
      "sys/fs/cgroup/memory.max": "max\n"}, 8 * 1024**3),
    ({"proc/self/cgroup": "0::/../docker/ab\n", "sys/fs/cgroup/memory.max": "4294967296\n"}, 4 * 1024**3),
    ({"proc/self/cgroup": "4:memory:/docker/ab\n0::/\n",
      "sys/fs/cgroup/memory/memory.limit_in_bytes": "2147483648\n"}, 2 * 1024**3),
    ({"proc/self/cgroup": "4:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, None),
    ({"proc/self/cgroup": "0::/\n"}, None), ({}, None)])
def test_a_containers_limit(tree, files, limit):
    assert system.memory_limit(tree(files)) == limit


def test_a_processors_flags(tree, processor):
    assert system.cpu_flags(tree({"proc/cpuinfo": "flags\t\t: fpu avx2\nflags : x\n"}), {}) == {"fpu", "avx2"}
    assert system.cpu_flags(tree({"proc/cpuinfo": "Features : fp asimd\n"}), {}) is None
    processor(False)
    assert system.cpu_flags(Path("/"), os.environ) == {"fpu", "sse2", "avx2"}


def test_the_battery_of_a_wireless_mouse_is_not_the_machines(tree):
    """As psutil counts it, a desktop would seem to run on its battery."""
    supplies = "sys/class/power_supply"
    mouse = {"type": "Battery", "scope": "Device", "capacity": "20", "status": "Discharging"}
    desktop = tree({f"{supplies}/hidpp_battery_0/{name}": text + "\n" for name, text in mouse.items()})
    assert system.look(desktop, {})["on_battery"] is None
    laptop = {"type": "Battery", "capacity": "71", "status": "Discharging"}
    tree({f"{supplies}/BAT0/{name}": text + "\n" for name, text in laptop.items()})
    assert system.look(desktop, {})["on_battery"] is True
    tree({f"{supplies}/AC/type": "Mains\n", f"{supplies}/AC/online": "1\n"})
    assert system.look(desktop, {})["on_battery"] is False


@pytest.mark.parametrize(("environ", "fault"), [
    ({"LANG": "hi_IN.UTF-8"}, ""), ({"LANG": "en_US.UTF-8", "LC_ALL": "C.UTF-8"}, ""), ({"LANG": "C"}, ""), ({}, ""),
    ({"LANG": "ta_IN.UTF-8"}, "LANG is ta_IN.UTF-8, which this system doesn't have."),
    ({"LANG": "C.UTF-8", "LC_ALL": "ta_IN"}, "LC_ALL is ta_IN, which this system doesn't have.")])
def test_a_locale_that_is_not_installed(environ, fault):
    assert system.locale_fault(environ, "C\nC.utf8\nPOSIX\nhi_IN.utf8\n") == fault
    assert system.locale_fault(environ, "") == ""


def test_fonts_by_what_fontconfig_says_and_by_their_files(tree):
    everything = "|".join(language for language, _ in system.SCRIPTS.values())
    assert system.scripts_without_font(Path("/"), f":lang=en|{everything}\n") == ()
    assert system.scripts_without_font(Path("/"), ":lang=en|hi|mr\n:lang=bn|ta\n")[:2] == ("Telugu", "Kannada")
    noto = "usr/share/fonts/truetype/noto/NotoSans{}-Regular.ttf"
    files = {noto.format(word): "" for _, word in system.SCRIPTS.values() if word != "Oriya"}
    assert system.scripts_without_font(tree(files)) == ("Odia",)
    assert system.scripts_without_font(tree(files | {noto.format("Oriya"): ""})) == ()


def test_no_font_file_says_nothing(tmp_path: Path):
    assert system.scripts_without_font(tmp_path) is None


@pytest.mark.parametrize(("text", "torch"), [
    ("__version__ = '2.13.0+cpu'\ndebug = False\ncuda: Optional[str] = None\nhip: Optional[str] = None\n",
     Torch("2.13.0+cpu")),
    ("__version__ = '2.9.1+cu128'\ncuda: Optional[str] = '12.8'\nhip: Optional[str] = None\n",
     Torch("2.9.1+cu128", "12.8")),
    ("__version__ = '2.4.0'\ncuda = '12.1'\nhip = None\n", Torch("2.4.0", "12.1")), ("nonsense", None)])
def test_the_build_of_pytorch_by_its_own_note(text, torch):
    assert gather.read_build(text) == torch


def test_exact_versions_of_a_requirements_file():
    text = "# words\ntorch>=2.4  # a range\nJinja2==3.1.6\nPySide6_Essentials==6.11.1 # why\n" \
           'pywin32-ctypes==0.2.3 ; sys_platform == "win32"\njeepney==0.9.0 ; sys_platform == "linux"\nnot a line\n'
    assert gather.pinned(text) == {"jinja2": "3.1.6", "pyside6-essentials": "6.11.1", "jeepney": "0.9.0"}


def test_the_environment_of_the_tests_has_what_was_pinned():
    installed, tested = gather.installed(), gather.tested()
    assert len(tested) > 100 and tested["transformers"] == installed["transformers"]


def test_a_folder_that_cannot_be_written_to(tmp_path: Path):
    assert gather.fault(tmp_path) is None
    fault = gather.fault(tmp_path / "gone")
    assert fault is not None and str(tmp_path) not in str(fault)


def test_who_can_look_into_a_folder(tmp_path: Path):
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    above = [part for part in (tmp_path, *tmp_path.parents) if not part.stat().st_mode & 0o001]
    folder.chmod(0o755)
    assert gather.open_to_others(folder) is (not above)
    folder.chmod(0o750)
    assert not gather.open_to_others(folder)
    folder.chmod(0o755)
    folder.parent.chmod(0o700)
    assert not gather.open_to_others(folder)


def test_what_kind_of_disk_it_is(tree, tmp_path: Path):
    device = tmp_path.stat().st_dev
    name = f"sys/dev/block/{os.major(device)}:{os.minor(device)}"
    assert gather.rotational(tmp_path, tmp_path / "nothing") is None
    assert gather.rotational(tmp_path, tree({f"{name}/queue/rotational": "1\n"})) is True
    assert gather.rotational(tmp_path, tree({f"{name}/queue/rotational": "0\n"})) is False


def test_a_partition_asks_its_disk(tree, tmp_path: Path):
    device = tmp_path.stat().st_dev
    root = tree({"sys/devices/sda/queue/rotational": "1\n", "sys/devices/sda/sda1/partition": "1\n"})
    place = root / "sys/dev/block"
    place.mkdir(parents=True)
    (place / f"{os.major(device)}:{os.minor(device)}").symlink_to(root / "sys/devices/sda/sda1")
    assert gather.rotational(tmp_path, root) is True


def test_the_disk_of_a_home_that_is_not_made_yet(tmp_path: Path):
    found = gather.look(tmp_path / "new" / "home", Path("/"), False, measure=False)
    assert found["home_fault"] is None and found["free"] > 0 and "write_speed" not in found and "jobs_size" not in found
    assert list(tmp_path.iterdir()) == []


def test_caches_are_counted_and_the_newest_file_is_found(tmp_path: Path):
    (tmp_path / "cache/jobs/one").mkdir(parents=True)
    (tmp_path / "cache/jobs/one/worker.log").write_bytes(b"x" * 1000)
    (tmp_path / "cache/two").write_bytes(b"x" * 10)
    assert gather.count("A", tmp_path / "cache").size == 1010
    assert gather.look(tmp_path, Path("/"), False, measure=False)["jobs_size"] == 1000
    (tmp_path / "runs").mkdir()
    ahead = time.time() + 100_000
    os.utime(tmp_path / "runs", (ahead, ahead))
    assert gather.newest(tmp_path) == pytest.approx(ahead)
