"""Folders in MMLU's layout."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from slmstudio.core.errors import UserError
from slmstudio.core.evaluation.mmlu_folder import categories, find_mmlu, read_mmlu


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
    assert len(folder.missing) == 1 and "55 subjects are not in" in folder.missing[0]
    found = read_mmlu(folder)
    assert [(item.id, item.category, item.line, item.answer) for item in found.items] == [
        (0, "anatomy", 1, 1), (1, "anatomy", 2, 3), (2, "virology", 1, 1), (3, "virology", 2, 3)]
    assert found.kinds == Counter(choice=4) and found.problems == []
    assert len(read_mmlu(folder, ["virology"], "dev").items) == 2


def test_one_file_a_subject(tmp_path):
    folder = find_mmlu(put(tmp_path, law="question,A,B,C,D,answer\n" + GOOD, tax=GOOD))
    assert (folder.subjects, folder.missing) == (("law", "tax"), ())
    assert len(read_mmlu(folder).items) == 4


def test_all_that_is_missing_at_once(tmp_path):
    present = {f"test__{subject}_test": GOOD for subject in categories() if subject not in ("anatomy", "virology")}
    folder = find_mmlu(put(tmp_path, dev__astronomy_dev=GOOD, dev__own_dev=GOOD, **present))
    first, questions, examples = folder.missing
    assert first.endswith("of MMLU's 57: anatomy, virology.") and first.startswith("2 subjects are not in")
    assert questions == "No questions (a test file) are there of: own."
    assert "abstract_algebra, business_ethics" in examples and "astronomy" not in examples


def test_problems_of_all_files_together(tmp_path):
    folder = find_mmlu(put(tmp_path, test__a_test="Q?,1,2,3,4,E\n" + GOOD, test__b_test="Q?,1,2,3,4,A\nQ?,1,2\n",
                           test__c_test="", test__d_test="one\ntwo\n", test__e_test="Q?,x,x,3,4,A\nQ?,y,z,z,4,A\n"))
    found = read_mmlu(folder)
    told = [(problem.field, problem.line) for problem in found.problems]
    assert told == [(f"test/{subject}_test.csv", line)
                    for subject, line in (("a", 1), ("b", 2), ("c", None), ("d", None), ("e", 1))]
    assert [item.category for item in found.items] == ["a", "a", "b", "e"]


@pytest.mark.parametrize(("texts", "words"), [({}, "holds no table"), ({"notes__a__b__c__d": GOOD}, "holds no table")])
def test_other_folders(tmp_path, texts, words):
    with pytest.raises(UserError) as caught:
        find_mmlu(put(tmp_path, **texts))
    assert words in caught.value.what
    with pytest.raises(UserError, match="is no folder"):
        find_mmlu(tmp_path / "none")


def test_subjects_that_are_not_there(tmp_path):
    folder = find_mmlu(put(tmp_path, test__a_test=GOOD))
    with pytest.raises(UserError) as caught:
        read_mmlu(folder, ["a", "b", "c"])
    assert [problem.field for problem in caught.value.problems] == ["b", "c"]
