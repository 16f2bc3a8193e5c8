"""The search line of the runs, and the tables that leave the program."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from slmstudio.gui.common.dialogs import csv_cell, csv_text
from slmstudio.gui.evaluation.answers.detail import LONGEST, changed, marked, nearest, pieces
from slmstudio.gui.results.run_filter import folded, matches, parse, unknown_fields

RUN = {"name": "हेल्पडेस्क पुणे", "lora_rank": 16, "learning_rate": 2e-4, "method": "qlora", "packing": True,
       "model": "/models/Qwen2.5-1.5B-Instruct", "eval_file": None, "tags": ["best", "For the demo"],
       "tuned.chrf": 52.4, "base.chrf": 21.3, "outcome": "finished", "versions.torch": "2.13.0",
       "created": "2026-11-24 15:31", "max_length": 2048, "seconds": 6540.0, "warmup_fraction": 0.05,
       "scratch_size": "30M", "mmlu.base.accuracy": 30.0, "mmlu.tuned.accuracy": 60.0,
       "note": "4 of 5 answers are right; the loss > eval, and a->b"}
TEXT = folded("\n".join(f"{key} {value}" for key, value in RUN.items()))


@pytest.mark.parametrize(("line", "found"), [
    ("", True), ("  ", True), ("हेल्पडेस्क", True), ("QWEN", True), ("qwen पुणे", True), ("qwen mumbai", False),
    ('"हेल्पडेस्क पुणे"', True), ('"पुणे हेल्पडेस्क"', False), ('"', True), ('"हेल्प', True),
    ("lora_rank=16", True), ("rank>8", True), ("rank>16", False), ("rank>=16", True), ("rank<=15", False),
    ("rank!=16", False), ("rank!=8", True), ("learning_rate=2e-4", True), ("learning_rate<1e-3", True),
    ("method=lora", False), ("method=QLoRA", True), ("model=qwen2.5-1.5b-instruct", True), ("packing=yes", True),
    ("packing=off", False), ("tag=best", True), ("tag=BEST", True), ('tag="for the demo"', True), ("tag=bes", False),
    ("tag!=best", False), ("chrf>50", True), ("base.chrf>50", False), ("chrf<50", False), ("eval_file=none", True),
    ("eval_file=x", False), ("torch=2.13.0", True), ("created>2026-11-01", True), ("created>2026-12", False),
    ("rank>", True), ("rank>=", True), ("rank>abc", False), ("nosuch>3", False), ("tag=best rank>8 qwen", True),
    ("tag=best rank>20 qwen", False), ("outcome!=finished", False), ("state=finished", True),
    # numbers as people type them, with a space or a unit
    ("rank > 8", True), ("rank > 16", False), ("rank >8 qwen", True), ("method = qlora", True),
    ("max_length>2k", True), ("max_length>2.1k", False), ("max_length=2,048", True), ("learning_rate>1e-4", True),
    ("learning_rate>.0002", False), ("time<2h", True), ("time<90min", False), ("warmup_fraction=5%", True),
    ("chrf>=52.4%", True), ("scratch_size>20M", True), ("scratch_size>1B", False), ("accuracy>50", True),
    ("accuracy<50", False), ("rank>1e", False), ("rank>8x", False), ("created>2026", True),
    # a text is no number, though it begins with a figure
    ("note>3", False), ("note<5", False), ("model>1", False), ("tag>a", False), ("torch>2", False),
    # what compares no field is a part of a sentence
    ("the loss > eval", True), ("loss > before", False), ("a->b", True), ("b->a", False), ('"the loss >"', True),
    ('"rank>8"', False), (">", True), ("> eval", True)])
def test_what_a_line_finds(line: str, found: bool) -> None:
    assert matches(parse(line, RUN), RUN, TEXT) is found


@pytest.mark.parametrize(("line", "named"), [
    ("nosuch>3 rank>8 free", ["nosuch"]), ("nosuch > 3", ["nosuch"]), ("nosuch=x", ["nosuch"]), ("nosuch = x", []),
    ("this > that", []), ("this>that", []), ("3>2", []), ("a->3", []), ('"nosuch>3"', [])])
def test_a_field_that_no_run_has_is_named(line: str, named: list[str]) -> None:
    assert unknown_fields(parse(line, RUN), RUN) == named


@given(st.text())
@example('a="b c')
@example(">=<")
def test_whatever_is_typed_means_something(line: str) -> None:
    conditions = parse(line, RUN)
    assert [each for each in conditions if not (each.field or each.wanted)] == []
    assert matches(conditions, RUN, TEXT) is all(matches([each], RUN, TEXT) for each in conditions)


@pytest.mark.parametrize("formula", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", " =1+1", "＝1+1"])
def test_no_cell_is_a_formula(formula: str) -> None:
    assert csv_cell(formula) == "'" + formula


def test_a_table_opens_in_a_spreadsheet_as_it_was_shown() -> None:
    rows = [["Frage", "हिन्दी, \"क\"", "=2"], ["zwei\nZeilen", -0.7, None], ["−0.7", "-0.7", True]]
    data = csv_text(rows)
    assert data.startswith(b"\xef\xbb\xbf"), "or Excel shows Devanagari as noise"
    back = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    assert back == [["Frage", 'हिन्दी, "क"', "'=2"], ["zwei\nZeilen", "-0.7", ""], ["−0.7", "-0.7", "True"]]


@given(st.text())
def test_pieces_put_together_are_the_text(text: str) -> None:
    assert "".join(pieces(text)) == text
    assert "".join(piece for piece, _ in changed(text, "x y")) == text
    assert not any(differs for _, differs in changed(text, text))


@pytest.mark.parametrize(("text", "other", "marks"), [
    ("आवेदन 7 दिन में।", "आवेदन 10 दिन में।", ["7"]),
    ("Call 112 now.", "Call 112 now", ["."]),
    ("விண்ணப்பம் 3 நாள்", "விண்ணப்பம் நாள்", ["3"]),
    ("東京に行く", "京都に行く", ["東"]),
    ("cafe\u0301", "caf\u00e9", []),
    ("a  b", "a b", []),
    ("यह कि नया", "यह की नया", ["कि"]),
    ("कि", "की", []), ("one two three", "four five three", [])])
def test_only_the_words_that_differ_are_marked(text: str, other: str, marks: list[str]) -> None:
    """And none in texts that have little in common."""
    assert [piece for piece, differs in changed(text, other) if differs] == marks


def test_marked_text_is_escaped_and_runs_of_marks_are_one() -> None:
    assert marked("a d <b> c", "a d", "s") == 'a d <span style="s">&lt;b&gt; c</span>'
    assert marked("a d e <b>", "a d e", "s") == 'a d e <span style="s">&lt;b&gt;</span>'
    assert marked("x\ny", "x\ny", "s") == "x<br>y"


def test_the_nearest_of_several_references() -> None:
    assert nearest("form 7 at window 2", ["call the helpline", "form 7 at window 3", ""]) == 1


def test_only_the_beginning_of_a_very_long_answer_is_compared() -> None:
    found = changed("the same " * 2500, "a same " * 2500)
    assert len(found) == 10_000 and found[0] == ("the", True)
    assert not any(differs for _, differs in found[LONGEST:])
