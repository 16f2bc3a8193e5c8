"""Whether the chat engine is there, and what is said where it isn't."""

from __future__ import annotations

import sys

import pytest
from support import no_llama

from slmstudio.core import llama, program
from slmstudio.core.errors import UserError


def test_it_is_looked_for_and_not_imported(monkeypatch, no_engine):
    monkeypatch.setattr(sys, "meta_path", [no_llama.Found, *sys.meta_path])
    assert llama.trouble() is None
    llama.need()
    assert "llama_cpp" not in sys.modules


def test_the_set_ups_own_reason_is_told(monkeypatch, tmp_path, no_engine):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    (tmp_path / llama.NOTE).write_text("No wheel fits, and there is no compiler.\nRun: apt install g++\n", "utf-8")
    error = llama.trouble()
    assert error.why == "No wheel fits, and there is no compiler. Run: apt install g++"
    assert "chat and GGUF files are switched off" in error.what and program.setup_command() in error.remedy
    with pytest.raises(UserError, match="switched off"):
        llama.need()


def test_what_it_was_built_with_is_known_by_its_libraries(monkeypatch, tmp_path):
    for name in ("ggml-cpu-haswell.dll", "libggml-cpu-x64.so", "libggml-vulkan.so", "libggml-base.so.0"):
        (tmp_path / "llama_cpp" / "lib" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "llama_cpp" / "lib" / name).touch()
    (tmp_path / "llama_cpp" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "llama_cpp", raising=False)  # another test may have loaded the real one
    assert llama.backends() == ["CPU", "Vulkan"]


def test_without_it_there_is_no_backend(no_engine):
    assert llama.backends() == []


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00"])
def test_without_a_reason_it_is_said_what_is_missing(monkeypatch, tmp_path, no_engine, content):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    if content is not None:
        (tmp_path / llama.NOTE).write_bytes(content)
    assert "llama-cpp-python is missing" in llama.trouble().why
