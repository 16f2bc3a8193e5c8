"""Folders in MMLU's layout."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from slmstudio.core.errors import UserError
from slmstudio.core.evaluation.testset.reader import categories, find_mmlu


def put(folder: Path, **texts: str) -> Path:
    """`test__anatomy_test="..."` becomes test/anatomy_test.csv."""
    for name, text in texts.items():
        path = folder / (name.replace("__", "/") + ".csv")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


GOOD = '"One, or two?",1,2,3,4,B\nThree?,a,b,c,d,D\n'


def test_mmlu_has_57_subjects_in_four_categories():
    assert Counter(categories().values()) == {"STEM": 18, "humanities": 13, "social sciences": 12, "other": 14}
    assert categories()["high_school_us_history"] == "humanities"


def test_the_original_layout(tmp_path):
    folder = find_mmlu(put(tmp_path, data__test__anatomy_test=GOOD, data__dev__anatomy_dev=GOOD,
                           data__val__anatomy_val=GOOD, data__test__virology_test=GOOD, data__dev__virology_dev=GOOD))
    assert folder.subjects == ("anatomy", "virology")
    assert len(folder.missing) == 1 and "55 of MMLU's 57 subjects are missing in" in folder.missing[0]


def test_one_file_a_subject(tmp_path):
    folder = find_mmlu(put(tmp_path, law="question,A,B,C,D,answer\n" + GOOD, tax=GOOD))
    assert (folder.subjects, folder.missing) == (("law", "tax"), ())


def test_all_that_is_missing_at_once(tmp_path):
    present = {f"test__{subject}_test": GOOD for subject in categories() if subject not in ("anatomy", "virology")}
    folder = find_mmlu(put(tmp_path, dev__astronomy_dev=GOOD, dev__own_dev=GOOD, **present))
    first, questions, examples = folder.missing
    assert first.endswith(": anatomy, virology.") and first.startswith("2 of MMLU's 57 subjects are missing in")
    assert questions == "There are no questions (a test file) for: own."
    assert "abstract_algebra, business_ethics" in examples and "astronomy" not in examples


@pytest.mark.parametrize(("texts", "words"), [({}, "no table for"), ({"notes__a__b__c__d": GOOD}, "no table for")])
def test_other_folders(tmp_path, texts, words):
    with pytest.raises(UserError) as caught:
        find_mmlu(put(tmp_path, **texts))
    assert words in caught.value.what
    with pytest.raises(UserError, match="isn't a folder"):
        find_mmlu(tmp_path / "none")
