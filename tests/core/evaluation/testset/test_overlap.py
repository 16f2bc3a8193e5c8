"""What a test set shares with the training rows."""

from __future__ import annotations

import json
import random

import pytest

from slmstudio.core.data.reader import Record, read_dataset
from slmstudio.core.data.source import ReadingCancelled
from slmstudio.core.evaluation.testset.item import TestItem
from slmstudio.core.evaluation.testset.overlap import find_overlap, plain
from slmstudio.core.evaluation.testset.reader import read_test_set

QUESTION = "How many days after its sale must a two-wheeler be registered in Karnataka?"


def items(*questions: str) -> list[TestItem]:
    return [TestItem(number, number + 11, "free", ({"role": "user", "content": text},), ("a",))
            for number, text in enumerate(questions)]


def records(*questions: str) -> list[Record]:
    return [Record(({"role": "user", "content": text}, {"role": "assistant", "content": "b"}), number + 101)
            for number, text in enumerate(questions)]


def found(question: str, learned: str) -> str | None:
    """How the question was found among those learned: "exact", "near" or not at all."""
    overlap = find_overlap(items(question), records("Something else altogether.", learned))
    assert overlap.ids <= {0} and not overlap.exact & overlap.near
    return "exact" if overlap.exact else "near" if overlap.near else None


@pytest.mark.parametrize(("question", "learned"), [
    ("Q?", "Q?"), ("Where is it?", "  where IS it "), ("क्या यह ठीक है?", "क्या यह ठीक है।"),
    ("caf\u00e9 where?", "cafe\u0301 where?"),
    (QUESTION, f"{QUESTION}\nA. 7\nB. 30\nAnswer:"),
])
def test_the_same_question_in_other_dress(question, learned):
    assert found(question, learned) == "exact"


def test_nearly_the_same_question():
    assert found(QUESTION, "How many days after its sale must a two wheeler vehicle be registered in Karnataka?"
                 ) == "near"
    assert found(QUESTION, "How long is a learner's licence valid in Karnataka?") is None
    assert found(QUESTION, "In how many days must a shop in Karnataka be registered after it has opened?") is None


def test_other_numbers_are_another_problem():
    base = "A robe takes {} bolts of blue fibre and half that much white fibre. How many bolts does it take in total?"
    assert found(base.format(2), base.format(2).replace("total", "all")) == "near"
    assert found(base.format(2), base.format(4).replace("total", "all")) is None


def test_vowel_signs_are_letters():
    assert found("की", "का") is None
    assert plain("हिन्दी, में!") == "हिन्दी में"


PASSAGE = "The Panthers' defence gave up just 308 points and ranked sixth in the league, with 24 interceptions. " * 6


def test_another_question_to_the_same_passage_is_none():
    first, second = "How many points did the defence give up?", "In which place were they in the league's list?"
    assert found(f"{first}\n\n{PASSAGE}", f"{second}\n\n{PASSAGE}") is None
    assert found(f"{first}\n\n{PASSAGE}", f"{first}\n\n{PASSAGE}And more.") == "near"


def test_a_question_that_was_learned_without_its_passage(tmp_path):
    path = tmp_path / "t.jsonl"
    rows = [{"question": f"How many {what} has it?", "answer": "6.", "context": PASSAGE} for what in ("legs", "eyes")]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    learned = read_dataset(path, columns={"instruction": "question", "output": "answer"}).records
    items = read_test_set(path).items
    assert PASSAGE in items[0].question and PASSAGE not in learned[0].messages[0]["content"]
    assert find_overlap(items, learned).exact == {0, 1}
    near = records("What number of legs has it got, and how many have the others?")
    item = TestItem(0, 1, "free", ({"role": "user", "content": "What number of legs has it got, and how many have the "
                                    f"other?\n\n{PASSAGE}"},), ("a",), below=len(PASSAGE) + 2)
    assert find_overlap([item], near).near == {0}


def test_every_turn_of_a_conversation_counts():
    turns = ("user", "Hello"), ("assistant", "Hi"), ("user", QUESTION), ("assistant", "7")
    record = Record(tuple({"role": role, "content": text} for role, text in turns), 5)
    assert find_overlap(items(QUESTION), [record]).exact == {0}


def test_plain_text_that_holds_the_question():
    text = f"Exam of 2024. {QUESTION} Answer in one sentence."
    assert find_overlap(items(QUESTION, "Is it?"), [Record((), 3, text=text)]).near == {0}


def test_sentences():
    questions = [f"What is the capital of the country called {word}?" for word in "abcdefghijklmnopqrst"]
    assert find_overlap(items(*questions), records("else")).sentence() == ""
    one = find_overlap(items(*questions, QUESTION), records(QUESTION))
    assert one.sentence().startswith("The model was trained on 1 of 21 test rows (1 word for word)")
    assert one.ids == {20} and not one.is_training_data
    assert find_overlap(items(questions[0]), records(*questions[1:])).ids == frozenset()
    most = find_overlap(items(*questions), records(*questions[1:]))
    assert most.is_training_data
    assert most.sentence().startswith("19 of 20 test rows are among the training rows")
    whole = find_overlap(items(*questions), records(*questions), same_file=True)
    assert whole.sentence().startswith("The test file is the training file itself")


def test_cancel():
    with pytest.raises(ReadingCancelled):
        find_overlap(items("a"), records("b"), cancelled=lambda: True)


def test_similar_texts_are_found_nearly_always():
    """Of 400 texts with a few words changed, those with a Jaccard index of 0.8 or more are found: 98% at least."""
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghijklmnoprstuvw", k=draw.randint(3, 8))) for _ in range(4000)]
    ours = [draw.choices(words, k=40) for _ in range(400)]
    theirs = []
    for text in ours:
        other = list(text)
        for place in draw.sample(range(40), draw.randint(1, 3)):
            other[place] = draw.choice(words)
        theirs.append(other)
    alike = {place for place in range(400) if similarity(" ".join(ours[place]), " ".join(theirs[place])) >= 0.8}
    found = find_overlap(items(*map(" ".join, ours)), records(*map(" ".join, theirs)))
    assert len(alike) > 100
    assert len(found.ids & alike) >= 0.98 * len(alike) and found.ids <= alike


def similarity(left: str, right: str) -> float:
    """The Jaccard index of the texts' shingles of five letters."""
    one, two = ({text[at : at + 5] for at in range(len(text) - 4)} for text in (left, right))
    return len(one & two) / len(one | two)


def test_real_data(data_dir):
    """GSM8K's test rows are none of its training rows; XQuAD repeats a question here and there."""
    numbers = find_overlap(read_test_set(data_dir / "gsm8k_test.jsonl").items,
                           read_dataset(data_dir / "gsm8k_train.jsonl").records)
    assert numbers.ids == frozenset()
    path = data_dir / "xquad_hi_instructions.jsonl"
    hindi, rows = read_test_set(path), read_dataset(path).records
    apart = find_overlap(hindi.items[::4], [row for number, row in enumerate(rows) if number % 4])
    assert 0 < len(apart.ids) < 15
    assert find_overlap(hindi.items, rows).is_training_data
