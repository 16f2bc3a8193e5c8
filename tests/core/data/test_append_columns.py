"""A row that is added has the columns that the file's own rows have, whatever these are called or were chosen to be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from slmstudio.core.chat import corrections
from slmstudio.core.data.appending.append import append, undo
from slmstudio.core.data.appending.new_row import NewRow
from slmstudio.core.data.reader import read_as
from slmstudio.core.errors import UserError

ASKED, ANSWERED, WORSE = "राशन कार्ड?", "तहसील कार्यालय।", "पता नहीं।"
TURNS = ({"role": "user", "content": ASKED}, {"role": "assistant", "content": ANSWERED})
SYSTEM = {"role": "system", "content": "Be kind."}
NEW, PAIR = NewRow(TURNS), NewRow(TURNS, rejected=WORSE)


def write(path: Path, row: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row | {"n": n}, ensure_ascii=False) + "\n" for n in range(3)), encoding="utf-8")
    return path


def added(path: Path, row: NewRow, said: str | None) -> dict[str, Any]:
    """What stands in the file then; it is taken back."""
    before = path.read_bytes()
    kept = append(path, row, said=said)
    found: dict[str, Any] = json.loads(path.read_text("utf-8").splitlines()[-1])
    record = read_as(path, said).records[-1]
    assert (record.messages, record.rejected) == (tuple(row.messages), row.rejected)
    undo(kept)
    assert path.read_bytes() == before
    return found


FILES = {
    "chosen": ({"Fld 1": "Hi", "Fld-2": "Hello", "xx": "text"}, "instruction=Fld 1,output=Fld-2", NEW,
               {"Fld 1": ASKED, "Fld-2": ANSWERED}),
    "chosen the other way round": ({"question": "Hi", "answer": "Hello"}, "instruction=answer,output=question", NEW,
                                   {"question": ANSWERED, "answer": ASKED}),
    "chosen, with a system message": (
        {"who": "Be brief.", "a": "Hi", "b": "Hello"}, "system=who,instruction=a,output=b",
        NewRow((SYSTEM, *TURNS)), {"who": "Be kind.", "a": ASKED, "b": ANSWERED}),
    "chosen pairs": ({"q": "Hi", "one": "Hello", "two": "No"}, "prompt=q,chosen=one,rejected=two", PAIR,
                     {"q": ASKED, "one": ANSWERED, "two": WORSE}),
    "names that are known": ({"Question": "Hi", "Answer": "Hello"}, None, NEW,
                             {"Question": ASKED, "Answer": ANSWERED}),
    "names in Hindi": ({"प्रश्न": "Hi", "उत्तर": "Hello"}, None, NEW, {"प्रश्न": ASKED, "उत्तर": ANSWERED}),
    "ShareGPT": ({"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]}, None, NEW,
                 {"conversations": [{"from": "human", "value": ASKED}, {"from": "gpt", "value": ANSWERED}]}),
    "ShareGPT's names for pairs": (
        {"question": "Hi", "response_j": "Hello", "response_k": "No"}, None, PAIR,
        {"question": ASKED, "response_j": ANSWERED, "response_k": WORSE}),
}


@pytest.mark.parametrize("name", FILES)
def test_the_row_is_written_in_the_columns_of_the_file(tmp_path: Path, name: str) -> None:
    like, said, row, wanted = FILES[name]
    assert added(write(tmp_path / "rows.jsonl", like), row, said) == wanted


def test_what_the_chosen_columns_cannot_hold_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", {"Fld 1": "Hi", "Fld-2": "Hello"})
    before = path.read_bytes()
    with pytest.raises(UserError) as caught:
        append(path, NewRow((SYSTEM, *TURNS)), said="instruction=Fld 1,output=Fld-2")
    assert "columns that were chosen" in caught.value.what and "another file" in caught.value.remedy
    assert path.read_bytes() == before


def test_without_a_choice_a_longer_conversation_still_finds_a_way(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", {"Question": "Hi", "Answer": "Hello"})
    longer = NewRow((SYSTEM, *TURNS, *TURNS))
    assert added(path, longer, None) == {"messages": list(longer.messages)}


def test_corrections_know_what_was_chosen_of_each_file(tmp_path: Path) -> None:
    chosen, other = (write(tmp_path / name, {"Fld 1": "Hi", "Fld-2": "Hello"} if name == "a.jsonl" else {
        "instruction": "Hi", "output": "Hello"}) for name in ("a.jsonl", "b.jsonl"))
    corrections.add_all([(chosen, NEW), (other, NEW)], said={chosen: "instruction=Fld 1,output=Fld-2", other: ""})
    assert [list(json.loads(path.read_text("utf-8").splitlines()[-1])) for path in (chosen, other)] == [
        ["Fld 1", "Fld-2"], ["instruction", "output"]]
