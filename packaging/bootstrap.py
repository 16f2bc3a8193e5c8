#!/usr/bin/env python3
"""Set SLM Studio up on this machine, then open its window. Needs Python 3.11 or newer and nothing else.

python3 packaging/bootstrap.py          set up what is missing, then open the window
python3 packaging/bootstrap.py setup    only set up
python3 packaging/bootstrap.py test     set up, then lint, check types and run the tests; further words go to pytest

Everything goes into .venv beside this folder. A second call finds it complete and opens the window at once; a call
after an interrupted one goes on where that one stopped.

An old Python must be able to read this file, so that it can say that it is old: no annotations newer than 3.6 here.
The real work is in setup_environment.py and is imported only when there is some.
"""

import hashlib
import json
import os
import sys

OLDEST_PYTHON = (3, 11)
RECIPE = 1  # raise it when a step does something else with the same requirements
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
SCRIPTS = os.path.join(VENV, "Scripts" if os.name == "nt" else "bin")
PYTHON = os.path.join(SCRIPTS, "python.exe" if os.name == "nt" else "python")
FIRST_RUN = "my-first-run"  # in the current folder
STAMPS = os.path.join(VENV, "bootstrap.json")


def main(arguments: "list[str]") -> int:
    """Returns the exit status: 0, or 2 when the person has to do something first, or that of the tests."""
    command = arguments[0] if arguments else "run"
    if command not in ("run", "setup", "test") or (command != "test" and len(arguments) > 1):
        print(__doc__, file=sys.stdout if command in ("-h", "--help") else sys.stderr)
        return 0 if command in ("-h", "--help") else 2
    sentence = too_old(sys.version_info[:3])
    if sentence:
        print(sentence, file=sys.stderr)
        return 2
    with_tests = command == "test"
    if not is_ready(with_tests):
        import setup_environment

        status = setup_environment.set_up(sys.modules[__name__], with_tests)
        if status != 0:
            return status
    if with_tests:
        return run_checks(arguments[1:])
    if command == "setup":
        print("SLM Studio is set up. " + how_to_open())
        return 0
    return open_window()


def too_old(version: "tuple[int, ...]") -> str:
    """One sentence for a person whose Python is too old; empty when it is new enough."""
    if version >= OLDEST_PYTHON:
        return ""
    import shutil

    newer = [name for name in ("python3.14", "python3.13", "python3.12", "python3.11") if shutil.which(name)]
    remedy = "Run: " + newer[0] + " packaging/bootstrap.py" if newer else "Install a newer one and run this with it."
    this = ".".join(map(str, version))
    return "SLM Studio needs Python 3.11 or newer, and this is Python {}. {}".format(this, remedy)


def read(name: str) -> str:
    with open(os.path.join(ROOT, *name.split("/")), encoding="utf-8") as file:
        return file.read()


def requirement(name: str) -> str:
    """The line of requirements.txt for one package, as in `torch>=2.4`."""
    lines = read("packaging/requirements.txt").splitlines()
    return next(line.split(" ")[0] for line in lines if line.startswith((name + "=", name + ">")))


def read_stamps() -> "dict[str, str]":
    """Which steps are done, each with the key it was done for."""
    try:
        with open(STAMPS, encoding="utf-8") as file:
            stamps = json.load(file)
    except (OSError, ValueError):
        return {}
    return stamps if isinstance(stamps, dict) else {}


def site_packages(tag: str) -> str:
    """Where the environment's packages lie; `tag` is its Python, as in "3.11"."""
    return os.path.join(VENV, "Lib", "site-packages") if os.name == "nt" else os.path.join(
        VENV, "lib", "python" + tag, "site-packages")


def environment_python() -> str:
    """The version of .venv's Python, as in "3.11"; empty when .venv is missing, half made, moved or without Python."""
    try:
        with open(os.path.join(VENV, "pyvenv.cfg"), encoding="utf-8") as file:
            settings = dict(line.strip().split(" = ", 1) for line in file if " = " in line)
    except (OSError, ValueError):
        return ""
    tag = ".".join(settings.get("version", "").split(".")[:2])
    moved = not settings.get("command", "").endswith((VENV, os.path.realpath(VENV)))
    real = os.path.basename(os.path.realpath(PYTHON))
    replaced = real.startswith("python3.") and not real.startswith("python" + tag)
    pip = os.path.join(site_packages(tag), "pip", "__main__.py")
    return "" if moved or replaced or not os.path.exists(PYTHON) or not os.path.exists(pip) else tag


def has_nvidia_driver() -> bool:
    places = ["/proc/driver/nvidia/version", "/dev/nvidiactl", "/usr/lib/wsl/lib/libcuda.so.1"]
    if os.name == "nt":
        places = [os.path.join(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32", "nvml.dll")]
    return any(os.path.exists(place) for place in places)


def step_keys(with_tests: bool) -> "dict[str, str]":
    """What each step is made from. A step is done when its stamp equals its key, and done again when that changes."""
    # A driver that goes away again (a container without the card) is no reason to fetch another torch.
    nvidia = has_nvidia_driver() or read_stamps().get("nvidia") == "yes"
    sources = {
        "torch": requirement("torch") + str(nvidia),
        "requirements": read("packaging/requirements.txt"),
        "llama": requirement("llama-cpp-python"),
        "converter": read("packaging/requirements-converter.txt"),
        "program": read("pyproject.toml"),
    }
    if with_tests:
        sources["tests"] = read("packaging/requirements-dev.txt")
    common = "{} {} ".format(RECIPE, environment_python())
    return {name: hashlib.sha256((common + text).encode()).hexdigest()[:16] for name, text in sources.items()}


def is_ready(with_tests: bool) -> bool:
    if not environment_python():
        return False
    stamps = read_stamps()
    return all(stamps.get(name) == key for name, key in step_keys(with_tests).items())


def how_to_open() -> str:
    command = os.path.join(SCRIPTS, "slmstudio")
    if has_screen():
        return "Open it with: " + command
    return "There is no screen here, so no window opens. In the terminal: {} quickstart --out FOLDER".format(command)


def has_screen() -> bool:
    names = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    return not sys.platform.startswith("linux") or any(os.environ.get(name) for name in names)


def open_window() -> int:
    """Become the window's process, or without a screen the quickstart's; on Windows, wait for it."""
    command = [PYTHON, "-P", "-m", "slmstudio"]  # -P: nothing in the current folder may stand in for a package
    if not has_screen():
        print("There is no screen here, so no window opens. The quickstart runs instead, in the folder " + FIRST_RUN)
        sys.stdout.flush()
        command += ["quickstart", "--out", FIRST_RUN]
    if os.name == "nt":
        import subprocess

        return subprocess.call(command)
    os.execv(command[0], command)


def run_checks(pytest_arguments: "list[str]") -> int:
    """Lint, then test. All of it runs whatever fails, and pytest's closing line comes last."""
    import subprocess

    checks = {
        "ruff": [PYTHON, "-m", "ruff", "check"],
        "import-linter": [os.path.join(SCRIPTS, "lint-imports")],
        "mypy": [PYTHON, "-m", "mypy"],
    }
    failed = [name for name, command in checks.items() if subprocess.call(command, cwd=ROOT) != 0]
    if failed:
        print("Failed: {}. The tests run all the same.".format(", ".join(failed)), file=sys.stderr)
    environment = {"QT_QPA_PLATFORM": "offscreen", **os.environ}
    status = subprocess.call([PYTHON, "-m", "pytest", *pytest_arguments], cwd=ROOT, env=environment)
    return status or int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
