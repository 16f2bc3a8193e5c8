#!/usr/bin/env python3
"""Set SLM Studio up on this machine, then open its window. Needs Python 3.11 or newer and nothing else.

python3 packaging/bootstrap.py          set up what is missing, then open the window
python3 packaging/bootstrap.py start    the same for a double-click: what is missing is set up in a small window
python3 packaging/bootstrap.py setup    only set up; --json: progress in JSON lines; --chat-device auto|cpu|vulkan|cuda
python3 packaging/bootstrap.py command WORDS    a command of the program, as in: command runs --json
python3 packaging/bootstrap.py test     set up, lint, check types, run the fast tests; further words go to pytest
python3 packaging/bootstrap.py test --full      the same with every test: an hour instead of a quarter of one

In a checkout everything goes into .venv beside this folder; an installed program keeps it where installed.json says.
SLMSTUDIO_ENVIRONMENT names another folder. A second call finds it complete and opens the window at once; a call after
an interrupted one continues where that one stopped.

An old Python must be able to read this file, so that it can say that it is old: no annotations newer than 3.6 here.
The real work is in setup_environment.py and is imported only when there is some.
"""

import hashlib
import json
import os
import sys

OLDEST_PYTHON = (3, 11)
RECIPE = 2  # raise it when a step does something else with the same requirements
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FIRST_RUN = "my-first-run"  # in the current folder


def installed() -> "dict[str, str]":
    """How this program was installed, from its own note; empty in a checkout."""
    try:
        with open(os.path.join(ROOT, "installed.json"), encoding="utf-8") as file:
            note = json.load(file)
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def environment_folder() -> str:
    """Where the Python environment is, or will be made."""
    chosen, note = os.environ.get("SLMSTUDIO_ENVIRONMENT"), installed()
    if chosen:
        return os.path.abspath(chosen)
    if not note:
        return os.path.join(ROOT, ".venv")
    if note.get("environment") in ("beside", "inside"):
        return os.path.join(os.path.dirname(ROOT) if note["environment"] == "beside" else ROOT, "environment")
    home = os.path.expanduser("~")
    if os.name == "nt":
        data = os.environ.get("LOCALAPPDATA") or os.path.join(home, "AppData", "Local")
    elif sys.platform == "darwin":
        data = os.path.join(home, "Library", "Application Support")
    else:
        data = os.environ.get("XDG_DATA_HOME") or os.path.join(home, ".local", "share")
    return os.path.join(data, "slmstudio", "environment")


VENV = environment_folder()
SCRIPTS = os.path.join(VENV, "Scripts" if os.name == "nt" else "bin")
PYTHON = os.path.join(SCRIPTS, "python.exe" if os.name == "nt" else "python")
STAMPS = os.path.join(VENV, "bootstrap.json")
NO_CHAT = os.path.join(VENV, "chat-engine.txt")  # why llama.cpp is missing; the program shows it
CHAT_DEVICE = os.path.join(VENV, "chat-device.json")  # what llama.cpp was built for, and why; the program shows it
CHAT_DEVICES = ("auto", "cpu", "vulkan", "cuda")
NO_CARD = os.path.join(VENV, "graphics-card.txt")  # why PyTorch can't use the card that is there


def main(arguments: "list[str]") -> int:
    """Returns the exit status: 0, or 2 when the user has to do something first, or that of the tests."""
    command, words = (arguments[0], arguments[1:]) if arguments else ("run", [])
    allowed = {"run": (), "setup": ("--json",)}
    device = ""
    if command == "setup" and "--chat-device" in words[:-1]:
        at = words.index("--chat-device")
        device = words[at + 1]
        words = words[:at] + words[at + 2:]
    unknown = command not in ("run", "setup", "start", "command", "test") or device not in ("",) + CHAT_DEVICES
    if unknown or (command in allowed and any(word not in allowed[command] for word in words)):
        print(__doc__, file=sys.stdout if command in ("-h", "--help") else sys.stderr)
        return 0 if command in ("-h", "--help") else 2
    sentence = too_old(sys.version_info[:3])
    if sentence:
        tell(sentence)
        return 2
    if command == "command":
        return run_command(words)
    if command == "start" and not is_ready(False) and has_screen() and has_tkinter():
        import setup_language

        setup_language.speak(window=True)
        import setup_window  # what it says is fixed when it is imported

        return setup_window.main(sys.modules[__name__], words)
    with_tests = command == "test"
    again = command == "setup" and (bool(device) or os.path.exists(NO_CHAT) or os.path.exists(NO_CARD) or has_drifted())
    if "--json" in words or again or not is_ready(with_tests):
        import setup_environment

        status = setup_environment.set_up(sys.modules[__name__], with_tests, "--json" in words, device)
        if status != 0 or "--json" in words:
            return status
    if with_tests:
        return run_checks(words)
    if command == "setup":
        from setup_language import tr

        print(tr("SLM Studio is set up.") + " " + how_to_open())
        return 0
    return open_window(words if command == "start" else [])


def tell(sentence: str) -> None:
    """Say what the user has to do first: in the terminal, or in a box where Windows gives none to a double-click."""
    if sys.platform == "win32" and sys.stderr is None:
        import ctypes

        ctypes.windll.user32.MessageBoxW(None, sentence, "SLM Studio", 0x10)
    else:
        print(sentence, file=sys.stderr)


def too_old(version: "tuple[int, ...]") -> str:
    """One sentence for a user whose Python is too old, in English: that Python can't read the catalogues.

    Empty when it is new enough.
    """
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
    """Where the environment's packages are; `tag` is its Python, as in "3.11"."""
    return os.path.join(VENV, "Lib", "site-packages") if os.name == "nt" else os.path.join(
        VENV, "lib", "python" + tag, "site-packages")


def environment_python() -> str:
    """The version of the environment's Python, as in "3.11"; empty when it is missing, half made, moved or broken."""
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
        "program": ROOT + read("pyproject.toml") + read("slmstudio/__init__.py"),
    }
    sources["check"] = "".join(sources.values())
    if with_tests:
        sources["tests"] = read("packaging/requirements-dev.txt")
    common = "{} {} ".format(RECIPE, environment_python())
    return {name: hashlib.sha256((common + text).encode()).hexdigest()[:16] for name, text in sources.items()}


def is_ready(with_tests: bool) -> bool:
    if not environment_python():
        return False
    stamps = read_stamps()
    return all(stamps.get(name) == key for name, key in step_keys(with_tests).items())


def has_drifted() -> bool:
    """Whether what is there differs from what was set up, as after `pip install` by hand."""
    import setup_drift

    return bool(setup_drift.steps(sys.modules[__name__]))


def how_to_open() -> str:
    from setup_language import tr

    # A package for the system brings the command itself.
    command = "slmstudio" if installed().get("how") == "deb" else os.path.join(SCRIPTS, "slmstudio")
    if has_screen():
        return tr("Open it with: {command}", command=command)
    return tr("There is no screen here, so no window opens. In the terminal: {command}",
              command=command + " quickstart --out FOLDER")


def how_to_set_up() -> str:
    """The command that sets up what is missing; core/program.py says the same."""
    how = installed().get("how")
    if how == "deb":
        return "slmstudio setup"
    return '"{}" setup'.format(os.path.join(SCRIPTS, "slmstudio")) if how else "python3 packaging/bootstrap.py setup"


def has_screen() -> bool:
    names = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    return not sys.platform.startswith("linux") or any(os.environ.get(name) for name in names)


def has_tkinter() -> bool:
    from importlib.util import find_spec

    # tkinter needs an X server: a platform plug-in of Qt alone is no screen for it.
    shows = not sys.platform.startswith("linux") or bool(os.environ.get("DISPLAY"))
    return shows and find_spec("_tkinter") is not None and find_spec("tkinter") is not None


def open_window(words: "list[str]") -> int:
    """Become the window's process, or without a screen the quickstart's; on Windows, leave the window to itself."""
    if not has_screen():
        from setup_language import tr

        print(tr("There is no screen here, so no window opens. The quickstart runs instead, in the folder {folder}",
                 folder=FIRST_RUN))
        sys.stdout.flush()
        words = ["quickstart", "--out", FIRST_RUN]
    if os.name == "nt":
        import subprocess

        # Without a console: a double-click opens one window, not two.
        subprocess.Popen([os.path.join(SCRIPTS, "pythonw.exe"), "-P", "-m", "slmstudio"] + words)
        return 0
    return become(words)


def run_command(words: "list[str]") -> int:
    """A command of the program in the terminal. Setting up again is the bootstrap's own."""
    if not is_ready(False):
        from setup_language import tr

        print(tr("SLM Studio isn't set up yet. Run: {command}", command=how_to_set_up()), file=sys.stderr)
        return 2
    return become(words)


def become(words: "list[str]") -> int:
    """Be the program from here on: its process replaces this one where the system can do that."""
    command = [PYTHON, "-P", "-m", "slmstudio"] + words  # -P: nothing in the current folder may stand in for a package
    if os.name == "nt":
        import subprocess

        return subprocess.call(command)
    os.execv(command[0], command)


def run_checks(pytest_arguments: "list[str]") -> int:
    """Lint and test at once. All of it runs whatever fails, and the closing lines of the tests come last."""
    import subprocess
    import threading

    import run_tests

    # The fast tier looks at the Windows installer alone; --full at every package. What can't be installed is named
    # here, and its tests say that they were skipped.
    kind = [] if "--full" in pytest_arguments else ["--kind", "windows"]
    subprocess.call([sys.executable, os.path.join(ROOT, "packaging", "build.py"), "tools"] + kind, cwd=ROOT)
    checks = {
        "ruff": [PYTHON, "-m", "ruff", "check"],
        "import-linter": [os.path.join(SCRIPTS, "lint-imports")],
        "mypy": [PYTHON, "-m", "mypy"],
    }
    failed = []

    def check() -> None:
        """One after the other, in the time that tests leave while they wait; what they say is shown in one piece."""
        for name, command in checks.items():
            done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            words = done.stdout.decode(errors="replace").strip()
            print("\n[{}] {}".format(name, words if done.returncode else words.splitlines()[-1]), flush=True)
            if done.returncode:
                failed.append(name)

    checking = threading.Thread(target=check)
    checking.start()
    environment = {"QT_QPA_PLATFORM": "offscreen", **os.environ}
    # Hundreds of processes import the program: it is compiled once and not by each of them.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    status = run_tests.run([PYTHON, "-m", "pytest"], pytest_arguments, ROOT, environment)
    checking.join()
    if failed:
        print("Failed: {}.".format(", ".join(failed)), file=sys.stderr)
    return status or int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
