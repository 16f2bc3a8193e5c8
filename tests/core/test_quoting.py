"""Words reach a program whole, through a POSIX shell and through Windows' command line."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from slmstudio.core import program

WORDS = ["plain", "with a space", "राशन कार्ड", "it's", 'a "quote"', "a&b", "$HOME `id` %PATH%", "back\\slash\\",
         "a b\\", "", "-x=1", "(1)", "x;y|z", "new\nline"]


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
@pytest.mark.parametrize("word", WORDS)
def test_posix_words_reach_the_program_whole(word) -> None:
    line = program.shell_line([sys.executable, "-c", "import sys; sys.stdout.write(sys.argv[1])", word], "posix")
    assert subprocess.run(["/bin/sh", "-c", line], capture_output=True, check=True).stdout.decode() == word


@pytest.mark.parametrize("word", WORDS)
def test_windows_words_reach_the_program_whole(word) -> None:
    assert microsoft_words(program.shell_line(["program", word, "end"], "nt")) == ["program", word, "end"]
    if set(word) & set("&|();'"):
        assert program.quote_windows(word).startswith('"'), "the shell would cut it"


def microsoft_words(line: str) -> list[str]:
    """A line taken apart as Microsoft's C runtime does."""
    words, at = [], 0
    while at < len(line):
        word, quoted, begun = "", False, at
        while at < len(line) and (quoted or line[at] not in " \t"):
            slashes = len(line[at:]) - len(line[at:].lstrip("\\"))
            at += slashes
            if line[at:at + 1] == '"':
                word += "\\" * (slashes // 2)
                if slashes % 2:
                    word += '"'
                else:
                    quoted = not quoted
                at += 1
            else:
                word += "\\" * slashes
                if slashes == 0:
                    word += line[at]
                    at += 1
        words += [word] if at > begun else []
        at += 1
    return words
