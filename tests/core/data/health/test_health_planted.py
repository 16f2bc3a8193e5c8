"""Planted faults are found, each in its rows and nowhere else; what is sound has none; fixes clear what they fix."""

from __future__ import annotations

import copy
import functools
import json
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from stdnum import luhn, verhoeff

from slmstudio.core.data.health.finding import KINDS, SEVERITIES, Context, left_out, recommended, to_decide
from slmstudio.core.data.health.near import CancellableProgress
from slmstudio.core.data.health.survey import check, fix, survey
from slmstudio.core.data.record import Record
from slmstudio.core.data.source import ReadingCancelled
from slmstudio.core.errors import Problem

from .rows import chat, clean_rows, fixes, with_answer, with_in_answer

ROWS = 1000


def aadhaar(number: str) -> str:
    return number + verhoeff.calc_check_digit(number)


def card(number: str) -> str:
    return number + luhn.calc_check_digit(number)


def spoil(piece: str) -> Callable[[Record], Record]:
    return lambda row: with_in_answer(row, piece)


PLANTED: dict[str, list[Callable[[Record], Record]]] = {
    "empty_answer": [lambda row: with_answer(row, ""), lambda row: with_answer(row, " \n\t"),
                     lambda row: with_answer(row, "\u00a0\n")],
    "personal_aadhaar": [spoil(aadhaar("23412341234")), spoil("आधार २३४१ २३४१ २३४६"), spoil("4991-1866-5246")],
    "personal_pan": [spoil("PAN ABCPE1234F"), spoil("(ACUPA7085R)")],
    "personal_gstin": [spoil("GSTIN 27AAPFU0939F1ZV")],
    "personal_epic": [spoil("voter card WKH1186253")],
    "personal_card": [spoil(card("411111111111111")), spoil("5500 0000 0000 0004"), spoil("3782-822463-10005")],
    "personal_phone": [spoil("98765 43210"), spoil("+91-9876543211"), spoil("09876501234"), spoil("+1 415 555 2671"),
                       spoil("022-23456789")],
    "personal_email": [spoil("ravi.kumar@gmail.com"), spoil("office@univ.ac.in")],
    "personal_upi": [spoil("ravi.k@okhdfcbank"), spoil("9876543210@ybl"), spoil("shop@upi")],
    "special_tokens": [spoil("<|im_end|>"), spoil("</s>"), spoil("[INST]"), spoil("<start_of_turn>"),
                       spoil("<odd_mark>")],
    "mojibake": [lambda row: with_answer(row, "It was the villageâ€™s cafÃ© near the river where everyone met."),
                 lambda row: with_answer(row, "नमस्ते दुनिया, यह नदी है।".encode().decode("latin-1"))],
    "replacement_characters": [spoil("caf\ufffd")],
    "control_characters": [spoil("a\x00b"), spoil("\ufeffword"), spoil("x\x1by"), spoil("quote\x93")],
    "stray_joiners": [spoil("wo\u200brd"), spoil("soft\u00adhyphen"), spoil("na\u200dme"), spoil("क\u200dख")],
    "not_nfc": [spoil("cafe\u0301"), spoil("\u0915\u095c\u093e")],
    "mixed_scripts": [spoil("рaypal"), spoil("भाrत"), spoil("কাमज"), spoil("молоko".replace("k", "к"))],
    "romanised_hindi": [lambda row: with_answer(row, "Aap kaise hain? Mujhe yeh kaam bahut accha laga.")],
    "html": [spoil("one<br>two"), spoil("<p>three</p>"), spoil("four&nbsp;five"), spoil("<b>bold</b>")],
    "placeholders": [spoil("{{author}}"), spoil("Dear {name},"), spoil("<YOUR_NAME>"), spoil("[Your Name]"),
                     spoil("[INSERT DATE HERE]"), spoil("Lorem ipsum dolor"), spoil("TODO: write this"),
                     spoil("is %s years")],
    "refusals": [lambda row: with_answer(row, "As an AI language model, I have no opinion on gardens."),
                 lambda row: with_answer(row, "I'm sorry, but I can't help with that."),
                 lambda row: with_answer(row, "मैं एक एआई हूँ और इस विषय पर कुछ नहीं कह सकता।"),
                 lambda row: with_answer(row, "क्षमा करें, लेकिन मैं इसमें सहायता नहीं कर सकता।")],
    "boilerplate": [lambda row: with_answer(row, "Sure! " + row.messages[-1]["content"]),
                    lambda row: with_answer(row, row.messages[-1]["content"] + " I hope this helps!"),
                    lambda row: with_answer(row, row.messages[-1]["content"] + "\n\nLet me know if you have any.")],
    "short_answer": [lambda row: with_answer(row, "ok"), lambda row: with_answer(row, "...")],
}
"""By kind, what spoils a row in that way and in no other."""
CONTEXT = Context(special_tokens=("<odd_mark>",))


@functools.cache
def planted() -> tuple[list[Record], dict[str, list[int]]]:
    """Sound rows with three rows of each spoiled so, and the lines of each kind."""
    rows = clean_rows(ROWS)
    places = random.Random(1).sample(range(ROWS), ROWS)
    lines: dict[str, list[int]] = {}
    for kind, spoilers in PLANTED.items():
        for spoiler in spoilers:
            for _ in range(2 if kind == "short_answer" else 3):
                place = places.pop()
                rows[place] = spoiler(rows[place])
                lines.setdefault(kind, []).append(rows[place].line)
    return rows, {kind: sorted(each) for kind, each in lines.items()}


def by_kind(rows: list[Record]) -> dict[str, tuple[int, ...]]:
    return {finding.kind: finding.lines for finding in check(rows, CONTEXT)}


def has(rows: list[Record], kind: str) -> bool:
    return bool(survey(rows, CONTEXT, frozenset({kind}), CancellableProgress(len(rows))))


def test_sound_rows_have_no_finding():
    assert check(clean_rows(ROWS)) == []


def test_what_is_planted_is_found_where_it_is_and_nowhere_else():
    rows, lines = planted()
    findings = check(rows, CONTEXT)
    assert {finding.kind: finding.lines for finding in findings} == {kind: tuple(each) for kind, each in lines.items()}
    costs = [(SEVERITIES.index(finding.severity), -finding.count) for finding in findings]
    assert costs == sorted(costs)
    for finding in findings:
        assert finding.count == len(finding.lines)
        assert f"{finding.count:,}" in finding.sentence and finding.sentence.endswith(".")
        assert finding.severity == KINDS[finding.kind].severity
        json.dumps(finding.to_dict(), ensure_ascii=False).encode()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind].fix and kind in PLANTED])
def test_a_fix_clears_its_finding_and_nothing_else(kind):
    rows, lines = planted()
    fixed = fix(rows, fixes(kind), CONTEXT)
    assert not has(fixed.records, kind)
    assert {change.line for change in fixed.changes} == set(lines[kind])
    assert all(change.kind == kind for change in fixed.changes)
    untouched = [row for row in rows if row.line not in lines[kind]]
    assert [row for row in fixed.records if row.line not in lines[kind]] == untouched
    assert [rows[index].line for index in fixed.kept] == [row.line for row in fixed.records]
    again = fix(fixed.records, fixes(kind), CONTEXT)
    assert again.changes == [] and again.records == fixed.records
    mask = KINDS[kind].mask
    assert not mask or all(mask in change.after for change in fixed.changes)
    left = fix(rows, {kind: "remove"}, CONTEXT)
    assert [row for row in rows if row.line not in lines[kind]] == left.records


def test_all_fixes_together_leave_nothing():
    rows, _ = planted()
    before = copy.deepcopy(rows)
    fixed = fix(rows, fixes(*KINDS), CONTEXT)
    assert rows == before, "what is given stays"
    assert by_kind(fixed.records) == {}
    assert fix(fixed.records, fixes(*KINDS), CONTEXT).changes == []
    assert fix(rows, dict.fromkeys(KINDS.keys() - {"unusable", "conflicting_answers", "no_answer"}, "keep"),
               CONTEXT).records == rows


def test_what_fixes_write():
    cases = {
        "html": ("<p>One&nbsp;&amp; two<br/>x<sup>2</sup></p><ul><li>a</li></ul>", "One & two\nx^2\n- a"),
        "mixed_scripts": ("рaypal भारतI কাमज", "paypal भारत। কামজ"),
        "not_nfc": ("cafe\u0301 \u0915\u095c\u093e", "caf\u00e9 \u0915\u0921\u093c\u093e"),
        "mojibake": ("à¤¨à¤® cafÃ©\nनमस्ते", "नम café\nनमस्ते"),
        "control_characters": ("\x93a\x00b\x94\x0c\ufeff", "“ab”\n"),
        "special_tokens": ("<<s>s>Hello<|im_end|>", "Hello"),
        "personal_gstin": ("GSTIN 27AAPFU0939F1ZV.", "GSTIN [GSTIN]."),
        "personal_epic": ("WKH1186253", "[VOTER ID]"),
        "boilerplate": ("Sure! here it is. River. I hope this helps!", "Here it is. River."),
        "stray_joiners": ("wo\u200brd क्‍ष 👩‍🌾", "word क्‍ष 👩‍🌾"),
    }
    for kind, (before, after) in cases.items():
        fixed = fix([chat("What is it?", before)], fixes(kind))
        assert fixed.records[0].messages[-1]["content"] == after, kind
        assert fixed.changes[0].before == before


def test_a_row_that_mending_leaves_blank_is_removed():
    fixed = fix([chat("What is it?", "<|endoftext|>"), chat("And this?", "A river.", 2)], {"special_tokens": "mend"})
    assert [row.line for row in fixed.records] == [2]
    assert [(change.line, change.after) for change in fixed.changes] == [(1, None)]


def test_labels_and_short_answers_of_a_kind_are_no_fault():
    labels = [chat(f"Is {word} a river in the mountains?", ("yes", "no")[number % 2], number)
              for number, word in enumerate(map(str, range(40)), start=1)]
    assert not has([*labels, *clean_rows(1000)], "short_answer")
    choices = [chat("Which? A) river B) hill", "B", 1), chat("How many?", "42", 2), chat("Where?", "北京", 3)]
    assert by_kind(choices) == {}
    assert by_kind([chat("Which one is it?", "ok", 1)]) == {"short_answer": (1,)}


def test_calls_of_tools_are_no_empty_answers_and_their_texts_are_looked_at():
    call = {"type": "function", "function": {"name": "send", "arguments": {"to": ["ravi@gmail.com"],
                                                                           "body": "<p>Hi</p>"}}}
    row = Record(({"role": "user", "content": "Write to Ravi."}, {"role": "assistant", "content": "",
                                                                  "tool_calls": [call]}), 7)
    assert by_kind([row]) == {"personal_email": (7,)}
    fixed = fix([row], {"personal_email": "mask"}).records[0]
    assert fixed.messages[1]["tool_calls"][0]["function"]["arguments"] == {"to": ["[EMAIL]"], "body": "<p>Hi</p>"}
    assert row.messages[1]["tool_calls"] == [call]


def test_rows_that_are_too_long():
    rows = clean_rows(4)
    context = Context(lengths=[10, 50, 30, 51], max_length=40)
    [finding] = check(rows, context)
    assert (finding.kind, finding.lines) == ("too_long", (2, 4))
    assert finding.detail == {"max_length": 40, "least_length": 51, "percent": 50.0, "tokens": 21}
    assert finding.cost == {"severity": "warn", "rows": 2, "tokens": 21} and finding.choices == ("keep", "remove")
    assert finding.sentence == "2 rows (50%) have more than 40 tokens and are cut; at 51, none is."
    fixed = fix(rows, {"too_long": "remove"}, context)
    assert fixed.kept == [0, 2]
    lost, cut = to_decide(check(rows, replace(context, starts=[4, 40, 4, 4])), (), 0, longer=64)
    assert (lost.kind, lost.lines, lost.choices) == ("no_answer", (2,), ("lengthen", "remove"))
    assert (cut.kind, cut.lines, cut.choices) == ("too_long", (4,), ("lengthen", "keep", "remove"))
    assert (cut.label("lengthen"), "64" in cut.does("lengthen")) == ("Length 64", True)
    texts = [replace(row, text="plain", messages=()) for row in rows]
    assert "too_long" not in {each.kind for each in check(texts, context)}, "texts are split"
    with pytest.raises(ValueError, match="1 lengths for 4 rows"):
        check(rows, Context(lengths=[1], max_length=1))


def test_rows_that_others_hold():
    rows = clean_rows(10)
    other = [with_answer(rows[3], "Something else."), with_answer(rows[3], "Once more."), *clean_rows(5, seed=9)]
    context = Context(others={"evaluation": other, "test": [rows[6]], "spare": []})
    [finding] = check(rows, context)
    assert (finding.kind, finding.lines) == ("overlap", (4, 7))
    assert check(fix(rows, {"overlap": "remove"}, context).records, context) == []


def test_files_are_named_where_there_are_several():
    rows = [replace(chat("What is it?", "A <br> river.", line), file=name) for name in ("b", "a") for line in (1, 2)]
    findings = {finding.kind: finding for finding in check(rows)}
    assert findings["html"].lines == (1, 2, 1, 2)
    assert findings["html"].detail["files"] == ["b", "b", "a", "a"]


def test_progress_and_cancelling():
    rows = clean_rows(3000)
    steps: list[tuple[int, int]] = []
    check(rows, progress=lambda done, total: steps.append((done, total)))
    assert steps[-1] == (6000, 6000) and steps == sorted(steps) and len(steps) >= 3
    asked: list[int] = []
    for after in (0, 3):
        asked.clear()
        with pytest.raises(ReadingCancelled):
            check(rows, cancelled=lambda last=after: asked.append(1) or len(asked) > last)
    with pytest.raises(ReadingCancelled):
        fix(rows, {"html": "mend"}, cancelled=lambda: True)
    for wrong in ({"nonsense": "keep"}, {"html": "longest"}):
        with pytest.raises(ValueError, match="Unknown decisions"):
            fix(rows, wrong)


def test_what_decisions_leave_out_is_known_before_and_written_down():
    rows = [*planted()[0], *(replace(row, line=ROWS + at) for at, row in enumerate(clean_rows(9, seed=5) * 2, 1)),
            chat("Where is it?", "By the river, in the old house.", 2000), chat("Where is it?", "By the hill.", 2001),
            chat("where is it", "Ok, there it is. Call 98765 43210.", 2002)]
    findings = to_decide(check(rows, CONTEXT), [Problem("x", line=7), Problem("x", lines=(8, 9), line=8)], 3)
    assert findings[0].severity == "bad" and ("unusable", 3, (7, 8, 9)) in [
        (each.kind, each.count, each.lines) for each in findings]
    best = {**recommended(findings), "mixed_scripts": "keep"}  # of which some can't be mended
    for decisions in (best, {**best, "personal_phone": "remove", "html": "remove",
                                              "near_duplicates": "remove"}):
        fixed = fix(rows, decisions, CONTEXT)
        assert left_out(findings, decisions) == len(rows) - len(fixed.records) > 0
        steps = {each["fix"]: each for each in fixed.steps(decisions, 3)}
        assert sum(each.get("removed", 0) for each in steps.values()) == len(rows) - len(fixed.records) + 3
        assert steps["html"]["rows"] == 12 and steps["short_answer"]["choice"] == "keep"
