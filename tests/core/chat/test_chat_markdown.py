"""Markdown in pieces: what is shown of foreign text, and that a growing message ends as a whole one."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tiers import examples

from slmstudio.core.chat import markdown
from slmstudio.core.chat.markdown import Piece, Stream

LONG = "\n\n".join(f"# Part {n}\n\nSome **text** of part {n}.\nNext line.\n\n```python\nprint({n})\n```\n\n"
                   + "\n".join(f"1. item {n}.{i}\n   - nested" for i in range(9)) for n in range(20))


def pieces(text: str, wrap: Callable[[str], str] = lambda text: text) -> list[Piece]:
    """A whole message in pieces."""
    stream = Stream(wrap)
    stream.add(text)
    return stream.pieces()


def text(markup: str) -> str:
    found = pieces(markup)
    assert [piece.kind for piece in found] == ["text"], found
    return found[0].content


def plain(found: list[Piece]) -> str:
    return "".join(re.sub(r"<[^>]*>", "", piece.content) if piece.kind == "text" else piece.content for piece in found)


def test_what_models_write() -> None:
    assert text("**नमस्ते** *तुम* `x < 1` ~~alt~~") == (
        "<p><b>नमस्ते</b> <i>तुम</i> <code>x &lt; 1</code> <s>alt</s></p>")
    assert text("one\ntwo") == "<p>one<br>two</p>", "a line end is a line end"
    assert text("## Title") == "<h3>Title</h3>"
    table = text("| a | b |\n|---|--:|\n| राशन | 2 |")
    assert "<th align=\"right\">b</th>" in table and "<td align=\"left\">राशन</td>" in table


def test_code_blocks_are_pieces_of_their_own() -> None:
    found = pieces("Do this:\n\n```python\nif x:\n    y <b>\n```\nDone.")
    assert found == [Piece("text", "<p>Do this:</p>"), Piece("code", "if x:\n    y <b>", "python"),
                     Piece("text", "<p>Done.</p>")]
    assert pieces("```\nnot closed yet")[0] == Piece("code", "not closed yet")


def test_a_list_goes_on_after_code_inside_it() -> None:
    found = pieces("1. First:\n   ```sh\n   ls\n   ```\n   then\n2. Second")
    assert [piece.kind for piece in found] == ["text", "code", "text"]
    assert found[1] == Piece("code", "ls", "sh")
    assert found[2].content.startswith('<div class="i">') and '<ol class="l" start="2"><li>' in found[2].content


@pytest.mark.parametrize("markup", ["<script>alert(1)</script>", "<img src=https://evil.example/x.png>",
                                    "<b onclick=x>y</b>", "<!-- x -->"])
def test_raw_html_is_text(markup: str) -> None:
    html = text(markup)
    assert "&lt;" in html and not re.search(r"<(?!/?p>)", html)


def test_images_are_links_and_dangerous_addresses_are_none() -> None:
    assert text("![a cat](https://x.example/c.png)") == '<p><a href="https://x.example/c.png">a cat</a></p>'
    assert "href" not in text("![c](file:///etc/passwd) [d](ftp://x.example) [e](/etc/passwd) ![f](c.png)")
    assert "href" not in text("[x](javascript:alert(1)) [y](data:text/html,hi)")
    assert text('[x](https://a.example/?q="><b>)').count("<b>") == 0


def test_a_growing_message_is_read_again_only_at_its_end() -> None:
    stream = Stream()
    for at in range(0, len(LONG), 37):
        stream.add(LONG[at:at + 37])
        assert len(stream._rest) < 2 * markdown.SETTLED_CHARACTERS
    assert len(stream._settled) > 30
    assert plain(stream.pieces()) == plain(markdown._pieces(markdown._parser().parse(LONG), str, None))


def test_a_row_of_a_table_is_shown_once_it_is_whole() -> None:
    stream = Stream()
    stream.add("| a | b |\n|---|---|\n| 1 | 2 |\n")
    shown = stream.pieces("▍")
    stream.add("| 3 ")
    assert stream.pieces("▍") == shown
    stream.add("| 4 |\n")
    assert len(shown) == 1 and "3" in stream.pieces("▍")[0].content


def test_numbers_go_on_where_a_long_list_is_cut() -> None:
    found = pieces("\n".join(f"1. item {number} " + "word " * 30 for number in range(1, 100)))
    assert len(found) > 5
    starts = [int(re.search(r'start="(\d+)"', piece.content)[1]) for piece in found]
    firsts = [int(re.search(r"item (\d+)", piece.content)[1]) for piece in found]
    assert starts == firsts


def test_an_endless_line_is_cut_where_nothing_is_open() -> None:
    words = "word number and " * 1000
    stream = Stream()
    for at in range(0, len(words), 50):
        stream.add(words[at:at + 50])
    assert len(stream.pieces()) > 5 and plain(stream.pieces()).replace(" ", "") == words.replace(" ", "")
    assert len(pieces("**bold " + words)) == 1 and len(pieces("**bold " + words + "**")) == 1


def test_one_long_block_is_not_cut() -> None:
    code = "\n".join(f"line {n}" for n in range(1000))
    stream = Stream()
    for line in f"```\n{code}\n```\nend".splitlines(keepends=True):
        stream.add(line)
    assert stream.pieces() == [Piece("code", code), Piece("text", "<p>end</p>")]


@pytest.mark.parametrize(("text", "shown"), [
    ("", "<p>▍</p>"), ("नमस्ते **दु", "<p>नमस्ते **दु▍</p>"), ("a\n\n**", "<p>a</p><p>**</p>"),
    ("- item", '<ul class="l"><li><p class="n">item▍</p></li></ul>')])
def test_a_sign_stands_where_more_is_to_come(text, shown) -> None:
    stream = Stream()
    stream.add(text)
    assert [piece.content for piece in stream.pieces("▍")] == [shown]


def test_no_sign_stands_in_code() -> None:
    for text in ("```py\nx = 1", "```py\nx = 1\n``", "```py\nx = 1\n```"):
        stream = Stream()
        stream.add(text)
        assert stream.pieces("▍")[0].content.rstrip("`\n") == "x = 1"
        assert stream.pieces("▍")[0].language == "py"


def test_words_too_long_for_a_line_get_places_to_break() -> None:
    found = pieces("abc `def`", lambda text: text.upper())
    assert found[0].content == "<p>ABC <code>DEF</code></p>"


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(st.sampled_from(["# ", "text ", "**", "`", "```\n", "\n", "\n\n", "- ", "1. ", "> ", "| a | b |\n",
                                 "|---|---|\n", "    ", "<b>", "[x](http://y.example)", "![", "क्ष", "\t", "\\", "\0",
                                 "word " * 300]), max_size=30))
def test_anything_can_be_read_and_nothing_dangerous_comes_out(parts: list[str]) -> None:
    stream = Stream()
    for part in parts:
        stream.add(part)
    tags = {tag for piece in stream.pieces() if piece.kind == "text"
            for tag in re.findall(r"</?([a-z0-9]+)", piece.content)}
    assert tags <= {"p", "b", "i", "s", "br", "h2", "h3", "h4", "hr", "ul", "ol", "li", "div", "blockquote", "table",
                    "thead", "tbody", "tr", "th", "td", "a", "code"}
