"""A report that is sent to strangers says nothing of who sent it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from slmstudio.core import checkup, program
from slmstudio.core.checkup import Personal

PERSONAL = Personal((("/home/asha/clients/acme", "<runs and models>"), ("/home/asha", "~")),
                    ("Asha Deshpande", "Deshpande", "asha"), ("pune-desk-7.acme.in", "pune-desk-7"))


@pytest.mark.parametrize(("text", "shared"), [
    ("Runs and models are kept here: /home/asha/clients/acme/runs", "Runs and models are kept here: "
                                                                    "<runs and models>/runs"),
    ("chmod go-rwx '/home/asha/my runs'", "chmod go-rwx '~/my runs'"),
    ("/home/ravi/.cache and /mnt/c/Users/Ravi/x", "/home/<user>/.cache and /mnt/c/Users/<user>/x"),
    (r"C:\Users\Ravi\AppData\Local", r"C:\Users\<user>\AppData\Local"),
    (r"\\nas7\ravi\models", r"\\<share>\models"),
    ("Mail asha.d@acme.co.in, on pune-desk-7 or PUNE-DESK-7.acme.in", "Mail <mail>, on <host> or <host>"),
    ("Asha Deshpande's machine, user asha_2 isn't asha", "<user>'s machine, user asha_2 isn't <user>"),
    ("GPU-5f3a1c2e-7b1d-4c55-9d30-1f2e3d4c5b6a lost", "<id> lost"),
    ("boot 0f8fad5b-d9cb-469f-a165-70867728950e", "boot <id>"),
    ("192.168.1.17 and fe80::1ff:fe23:4567:890a and 52:54:00:12:34:56", "<address> and <address> and <address>"),
    ("Serial number: 1324021-A5, serial=PF3X", "Serial number: <serial>, serial=<serial>"),
    ("hf_AbCdEfGhIjKlMnOp", "<token>"),
    ("sha a3f5c9e1b2d4f6a8c0e2", "sha <id>"),
])
def test_what_is_taken_out(text: str, shared: str):
    assert checkup.without(text, PERSONAL) == shared


@pytest.mark.parametrize("text", [
    "RTX 3060 · 12 GB works with its driver. Driver 535.183.01. It supports CUDA up to 12.2.",
    "PyTorch 2.13.0+cu130, built for CUDA 13.0, computes on the card.", "13.615.71, 2026.10.19.post1, 10 to 100",
    "sm_86, compute_120; torch 2.5.1 (CVE-2025-32434, mended in 2.6.0)", "UV_TORCH_BACKEND=cu126",
    "sudo apt purge 'nvidia-*' 'libnvidia-*'", "AMD EPYC 7763 with 0x10de at 12:30:45",
    "/usr/lib/wsl/lib/libcuda.so.1 is missing"])
def test_what_stays(text: str):
    assert checkup.without(text, PERSONAL) == text


def test_the_names_of_this_machine_are_known(tmp_path: Path):
    found = checkup.of_this_machine(tmp_path / "runs", {"USER": "meera", "HOSTNAME": "meeras-pc", "LOGNAME": "root"})
    assert "meera" in found.users and "root" not in found.users and "meeras-pc" in found.hosts
    assert (str(tmp_path / "runs"), "<runs and models>") in found.places
    assert (str(Path.home()), "~") in found.places
    command = program.setup_command() + " " + program.command("place", "FOLDER")
    shared = checkup.without(command, found)
    assert str(program.ROOT) not in shared and sys.prefix not in shared


def test_the_root_of_all_folders_is_nobodys():
    assert checkup.without("/etc/x", Personal((("/", "~"),))) == "/etc/x"
