"""The program's commands, as messages name them."""

from __future__ import annotations

import ast
import re
import shlex
import sys
from pathlib import Path

import pytest

from slmstudio.core import program

ROOT = Path(__file__).resolve().parent.parent.parent
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the shell's quoting is POSIX's here")


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """`installed("deb")`: how the program came to this machine."""
    def by(how: str) -> None:
        monkeypatch.setattr(program, "ROOT", tmp_path)
        (tmp_path / "installed.json").write_text(f'{{"how": "{how}"}}')

    return by


@pytest.fixture
def script(tmp_path, monkeypatch):
    """The environment's own command, below a folder with a space."""
    script = tmp_path / "My programs" / "bin" / "slmstudio"
    script.parent.mkdir(parents=True)
    script.write_text("")
    monkeypatch.setattr(sys, "prefix", str(script.parent.parent))
    return script


def test_of_a_package_for_the_system(installed, script):
    installed("deb")
    assert program.command("train", "my run") == "slmstudio train 'my run'"
    assert program.setup_command() == "slmstudio setup"


def test_of_an_installed_program(installed, script):
    installed("windows")
    assert shlex.split(program.command("runs")) == [str(script), "runs"]
    assert shlex.split(program.setup_command()) == [str(script), "setup"]


def test_of_a_checkout(script):
    assert shlex.split(program.command("runs")) == [str(script), "runs"]
    assert shlex.split(program.setup_command())[1:] == [str(ROOT / "packaging" / "bootstrap.py"), "setup"]


def test_where_there_is_no_command(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(program, "BOOTSTRAP", tmp_path / "bootstrap.py")
    assert shlex.split(program.command("runs")) == [sys.executable, "-P", "-m", "slmstudio", "runs"]
    assert program.setup_command() == program.command("setup")


def texts(tree: ast.AST) -> list[str]:
    """All strings but those that stand alone, which are docstrings."""
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [node.value for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone]


def test_no_message_names_a_command_by_itself():
    named = re.compile(r"\bslmstudio [a-z]|python3? .*bootstrap\.py")
    for path in (ROOT / "slmstudio").rglob("*.py"):
        source = path.read_text("utf-8")
        if named.search(source):
            assert [text for text in texts(ast.parse(source)) if named.search(text)] == [], path
