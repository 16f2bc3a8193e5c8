"""Rows that repeat or contradict others: exact for the whole rows, near-duplicates against every pair."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

from slmstudio.core.data.health.finding import Finding
from slmstudio.core.data.health.near import CancellableProgress, near_duplicates
from slmstudio.core.data.health.survey import check, fix
from slmstudio.core.data.record import Record

from .rows import WORDS, chat, clean_rows, sentence


def findings(rows: list[Record]) -> dict[str, Finding]:
    return {finding.kind: finding for finding in check(rows)}


def all_near(rows: list[Record]) -> set[tuple[int, int]]:
    """Every pair with a Jaccard index of 0.8 or more, found by comparing all with all."""
    texts = (" ".join(message["content"] for message in row.messages).lower().split() for row in rows)
    sets = [{tuple(words[place:place + 5]) for place in range(len(words) - 4)} for words in texts]
    return {(one, two) for one, two in itertools.combinations(range(len(rows)), 2)
            if (common := len(sets[one] & sets[two])) and common >= 0.8 * (len(sets[one]) + len(sets[two]) - common)}


def families(count: int, seed: int) -> list[Record]:
    """Rows with one to three others each, in which some words were changed: from nearly the same to quite different."""
    chance = random.Random(seed)
    scripts = list(WORDS)
    rows: list[Record] = []
    for number in range(count):
        script = scripts[number % len(scripts)]
        question = sentence(chance, script, 60)
        answer = sentence(chance, script, 60)
        rows.append(chat(question, answer))
        for _ in range(chance.randint(1, 3)):
            words = [question.split(), answer.split()]
            for _ in range(chance.randint(1, 6)):
                side = chance.choice(words)
                side[chance.randrange(len(side))] = chance.choice(WORDS[script])
            rows.append(chat(*map(" ".join, words)))
    chance.shuffle(rows)
    return [replace(row, line=line) for line, row in enumerate(rows, start=1)]


def test_near_duplicates_against_all_pairs():
    rows = families(120, seed=5)
    near = all_near(rows)
    wanted, kept = set(), []
    for row in range(len(rows)):
        if any((other, row) in near for other in kept):
            wanted.add(row)
        else:
            kept.append(row)
    found = near_duplicates(rows, set(), CancellableProgress(1))
    right = {row for row, partner in found.items() if (partner, row) in near}
    recall, precision = len(right & wanted) / len(wanted), len(right) / len(found)
    assert len(wanted) > 60
    assert recall >= 0.95 and precision >= 0.95, f"recall {recall:.3f}, precision {precision:.3f}, {len(wanted)} rows"


def test_pairs_at_the_threshold_are_found():
    chance = random.Random(3)
    rows, wanted = [], 0
    for number in range(300):
        words = [f"w{chance.randrange(10**6)}" for _ in range(104)]
        other = list(words)
        other[20], other[70] = "changed", "other"  # 100 shingles, of which 10 differ: 90 / 110 = 0.818
        if number % 3 == 0:
            other[45] = "third"  # 85 / 115 = 0.739
        else:
            wanted += 1
        rows += [chat(" ".join(words[:52]), " ".join(words[52:])), chat(" ".join(other[:52]), " ".join(other[52:]))]
    found = near_duplicates(rows, set(), CancellableProgress(1))
    assert all(row % 2 and partner == row - 1 and (row // 2) % 3 for row, partner in found.items())
    assert len(found) >= 0.95 * wanted, f"{len(found)} of {wanted}"


def test_case_blanks_and_composition_do_not_matter():
    rows = [chat("What is the Café on the hill called today?", "It is called the River House.", 1),
            chat("what is the  cafe\u0301 on\nthe hill called today?", "It is called the river house.", 2)]
    assert findings(rows)["near_duplicates"].detail["partners"] == [[2, 1]]


def test_texts_without_spaces_are_compared_by_characters():
    text = "今天天气很好我们一起去公园散步然后回家吃饭看书学习写字画画听音乐睡觉明天早上再去学校上课下午打球"
    rows = [chat(text, "好的没问题", 1), chat("昨" + text[1:], "好的没问题", 2), chat(text[::-1], "完全不同的回答内容",
                                                                           3)]
    assert findings(rows)["near_duplicates"].lines == (2,)


def test_questions_about_one_passage_are_no_near_duplicates():
    passage = sentence(random.Random(0), "Latin", 150)
    rows = [chat(f"{question}\n\n{passage}", answer, line) for line, (question, answer) in enumerate((
        ("Who built the bridge?", "The singer."), ("When was the factory opened?", "In the winter of 1920."),
        ("Who built the stone bridge?", "The singer.")), start=1)]
    assert findings(rows)["near_duplicates"].lines == (3,)


def test_duplicates_count_once_and_in_full():
    first, second, third = clean_rows(3)
    rows = [first, second, replace(first, line=8), third, replace(first, line=9), replace(second, line=10,
                                                                                          desirable=True)]
    found = findings(rows)
    assert found["duplicate_rows"].lines == (8, 9)
    assert found["duplicate_rows"].detail["partners"] == [[8, first.line], [9, first.line]]
    assert "near_duplicates" not in found
    for kind in ("duplicate_rows", "near_duplicates"):
        fixed = fix(rows, {kind: "remove"})
        assert kind not in findings(fixed.records)
        assert fixed.records[0] is first
    calls = [Record((*first.messages[:1], {"role": "assistant", "content": "", "tool_calls": [{"type": "function",
             "function": {"name": "go", "arguments": {"to": place}}}]}), line) for line, place in enumerate("abb",
                                                                                                            start=1)]
    assert findings(calls)["duplicate_rows"].lines == (3,)


def test_fixing_near_duplicates_leaves_none():
    rows = families(80, seed=11)
    fixed = fix(rows, {"near_duplicates": "remove"})
    assert 0 < len(fixed.records) < len(rows)
    assert "near_duplicates" not in findings(fixed.records)


def test_conflicting_answers():
    rows = [chat("What is the capital of Kerala?", "Thiruvananthapuram.", 1),
            chat("what is the capital  of Kerala?", "Kochi", 2), chat("What is the capital of Kerala?", "kochi.", 3),
            chat("What is the capital of Goa?", "Panaji", 4), chat("What is the capital of Goa?", "panaji.", 5)]
    finding = findings(rows)["conflicting_answers"]
    assert (finding.lines, finding.detail["groups"]) == ((1, 2, 3), [[1, 2, 3]])
    assert finding.choices == ("longest", "keep", "by_hand") and finding.cost == {"severity": "bad", "rows": 3}
    assert finding.sentence == "1 question has several answers, in 3 rows."
    assert [row.line for row in fix(rows, {"conflicting_answers": "longest"}).records] == [1, 4, 5]


def test_answers_to_one_question_do_not_conflict_where_they_are_compared():
    question, other = "Write one line about the river near our village.", "It flows."
    pairs = [replace(chat(question, good, line), rejected=bad) for line, (good, bad) in
             enumerate((("Slow water.", other), ("Cold water.", other), ("Slow water.", "Mud.")), start=1)]
    assert "conflicting_answers" not in findings(pairs)
    turned = [*pairs, replace(chat(question, other, 4), rejected="Slow water.")]
    assert findings(turned)["conflicting_answers"].lines == (1, 4)
    assert findings(turned)["conflicting_answers"].choices == ("keep", "by_hand"), "the longest isn't the better one"
    marked = [replace(chat(question, answer, line), desirable=good) for line, (answer, good) in
              enumerate((("Slow.", True), ("Cold.", False), ("Slow", False)), start=1)]
    assert findings(marked)["conflicting_answers"].lines == (1, 3)
    plain = [Record((), line, text=text) for line, text in enumerate(("A river.", "A hill."), start=1)]
    assert findings(plain) == {}
