"""Adding one row to a dataset: the old rows stay, the new one reads back, and it can be taken back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.appended_rows import NEW, ROWS, said, write
from support.tiers import examples

from slmstudio.core.chat import corrections
from slmstudio.core.data.reader import read_as, read_dataset
from slmstudio.core.data.versions.appending import NewRow, Twin, append, find_twin, undo
from slmstudio.core.errors import UserError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(lambda text: text.strip())
ENCODINGS = {"utf-8": b"", "utf-8-sig": b"\xef\xbb\xbf", "utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}
FUZZ = settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
PAIR = NewRow(said("राशन कार्ड?", "तहसील कार्यालय।"), rejected="पता नहीं।")
PAIRS: dict[str, dict[str, Any]] = {
    "texts": {"prompt": "Hi", "chosen": "Hello", "rejected": "No"},
    "answers are messages": {"prompt": "Hi", "chosen": [{"role": "assistant", "content": "Hello"}],
                             "rejected": [{"role": "assistant", "content": "No"}]},
    "all messages": {"prompt": list(said("Hi")), "chosen": [{"role": "assistant", "content": "Hello"}],
                     "rejected": [{"role": "assistant", "content": "No"}]},
    "whole conversations": {"chosen": list(said("Hi", "Hello")), "rejected": list(said("Hi", "No"))},
    "transcripts": {"chosen": "\n\nHuman: Hi\n\nAssistant: Hello", "rejected": "\n\nHuman: Hi\n\nAssistant: No"},
    "question": {"question": "Hi", "chosen": "Hello", "rejected": "No"},
    "instruction": {"instruction": "Hi", "input": "", "chosen": "Hello", "rejected": "No"},
}


def last(path: Path) -> dict[str, Any]:
    """The last row of a JSONL file as it stands there."""
    found: dict[str, Any] = json.loads(path.read_text("utf-8").splitlines()[-1])
    return found


# -- any row, any file ---------------------------------------------------------------------------------------


@st.composite
def conversations(draw: st.DrawFn) -> tuple[dict[str, str], ...]:
    turns = draw(st.sampled_from([2, 2, 4, 6]))
    return said(*(draw(TEXT) for _ in range(turns)), system=draw(st.sampled_from(["", "आप सहायक हैं।"])))


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, bool]:
    """A file's bytes, and whether it holds preference pairs."""
    pairs = draw(st.booleans())
    pool = list((PAIRS if pairs else ROWS).values())
    rows = draw(st.lists(st.sampled_from(pool), max_size=5))
    form = draw(st.sampled_from(["lines", "list", "pretty list", "lines of a list", "pretty objects"]))
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    if form == "lines":
        text = "\n".join(json.dumps(row, ensure_ascii=draw(st.booleans())) for row in rows)
    elif form == "list":
        text = json.dumps(rows)
    elif form == "pretty list":
        text = json.dumps(rows, ensure_ascii=False, indent=draw(st.sampled_from([1, 2, 4, "\t"])))
    elif form == "lines of a list":
        text = "[\n" + ",\n".join(map(json.dumps, rows)) + "\n]"
    else:
        text = "\n".join(json.dumps(row, indent=2) for row in rows)
    text += draw(st.sampled_from(["", "\n", "\n\n", " \n"]))
    encoding = draw(st.sampled_from(list(ENCODINGS)))
    body = text.replace("\n", newline).encode(encoding.removesuffix("-sig"))
    return (ENCODINGS[encoding] if body else b"") + body, pairs


@FUZZ
@given(files(), conversations(), TEXT, st.sampled_from([".jsonl", ".json", ".txt"]))
def test_the_old_rows_and_the_new_one_are_read_back(tmp_path_factory, file, messages, rejected, suffix) -> None:
    content, pairs = file
    path = tmp_path_factory.mktemp("append") / f"rows{suffix}"
    path.write_bytes(content)
    row = NewRow(messages, rejected if pairs else None)
    try:
        before = read_dataset(path).records
    except UserError:
        before = []
    if messages[-1]["content"].strip() == rejected.strip() and pairs:
        return
    if suffix == ".txt" and not any(record.messages for record in before):  # brackets are plain text there
        with pytest.raises(UserError):
            append(path, row)
        assert path.read_bytes() == content
        return
    added = append(path, row)
    after = read_dataset(path)
    assert after.problems == [] and after.records[:-1] == before
    assert (after.records[-1].messages, after.records[-1].rejected) == (messages, row.rejected)
    assert (added.rows, added.line) == (len(before) + 1, after.records[-1].line)
    if content.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")):
        assert path.read_bytes()[:2] == content[:2], "the encoding stays"
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    with pytest.raises(UserError, match="is already in rows"):
        append(path, row)
    undo(added)
    assert path.read_bytes() == content


@FUZZ
@given(st.binary(max_size=300), st.sampled_from(sorted(ROWS)))
def test_damage_is_never_made_worse(tmp_path_factory, junk: bytes, name: str) -> None:
    """Whatever stands before and behind: the file is as it was, or has the row, and the same problems as before."""
    folder = tmp_path_factory.mktemp("damage")
    good = json.dumps(ROWS[name]).encode() + b"\n"
    for number, content in enumerate((good + junk, junk + b"\n" + good, b"[" + good + junk + b"]", b"[" + good)):
        path = folder / f"{number}.jsonl"
        path.write_bytes(content)
        try:
            before = read_dataset(path)
            append(path, NEW)
        except UserError:
            assert path.read_bytes() == content
            continue
        after = read_dataset(path)
        assert after.records[:-1] == before.records and after.problems == before.problems
        assert after.records[-1].messages == NEW.messages


# -- layouts -------------------------------------------------------------------------------------------------


ASKED, ANSWERED, WORSE = "राशन कार्ड?", "तहसील कार्यालय।", "पता नहीं।"
FILES = {
    "chosen": ({"Fld 1": "Hi", "Fld-2": "Hello", "xx": "text"}, "instruction=Fld 1,output=Fld-2", NEW,
               {"Fld 1": ASKED, "Fld-2": ANSWERED}),
    "chosen the other way round": ({"question": "Hi", "answer": "Hello"}, "instruction=answer,output=question", NEW,
                                   {"question": ANSWERED, "answer": ASKED}),
    "chosen, with a system message": (
        {"who": "Be brief.", "a": "Hi", "b": "Hello"}, "system=who,instruction=a,output=b",
        NewRow(said(ASKED, ANSWERED, system="Be kind.")), {"who": "Be kind.", "a": ASKED, "b": ANSWERED}),
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
    like, line, row, wanted = FILES[name]
    path = write(tmp_path / "rows.jsonl", [like | {"n": n} for n in range(3)])
    before = path.read_bytes()
    added = append(path, row, said=line)
    record = read_as(path, line).records[-1]
    assert (last(path), record.messages, record.rejected) == (wanted, row.messages, row.rejected)
    undo(added)
    assert path.read_bytes() == before


@pytest.mark.parametrize(("like", "row"), [*((each, NEW) for each in ROWS.values()),
                                           *((each, PAIR) for each in PAIRS.values())])
def test_the_row_has_the_columns_of_the_others(tmp_path: Path, like: dict[str, Any], row: NewRow) -> None:
    path = write(tmp_path / "rows.jsonl", [like])
    append(path, row)
    kinds = {name: type(value) for name, value in like.items() if name != "id"}
    assert [(name, type(value)) for name, value in last(path).items()] == list(kinds.items())


def test_what_the_chosen_columns_cannot_hold_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [{"Fld 1": "Hi", "Fld-2": "Hello"}])
    before = path.read_bytes()
    with pytest.raises(UserError) as caught:
        append(path, NewRow(said(ASKED, ANSWERED, system="Be kind.")), said="instruction=Fld 1,output=Fld-2")
    assert "columns that were chosen" in caught.value.what and "another file" in caught.value.remedy
    assert path.read_bytes() == before


def test_without_a_choice_a_longer_conversation_still_finds_a_way(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [{"Question": "Hi", "Answer": "Hello"}])
    longer = NewRow(said("a", "b", "c", "d", system="Kind."))
    append(path, longer)
    assert last(path) == {"messages": list(longer.messages)}
    assert read_dataset(path).records[-1].messages == longer.messages


def test_corrections_know_what_was_chosen_of_each_file(tmp_path: Path) -> None:
    chosen, other = (write(tmp_path / name, [row]) for name, row in (
        ("a.jsonl", {"Fld 1": "Hi", "Fld-2": "Hello"}), ("b.jsonl", {"instruction": "Hi", "output": "Hello"})))
    corrections.add_all([(chosen, NEW), (other, NEW)], said={chosen: "instruction=Fld 1,output=Fld-2", other: ""})
    assert [list(last(path)) for path in (chosen, other)] == [["Fld 1", "Fld-2"], ["instruction", "output"]]


def test_a_text_that_looks_like_a_transcript_stays_one_text(tmp_path: Path) -> None:
    path = write(tmp_path / "pairs.jsonl", [PAIRS["transcripts"]])
    row = NewRow(said("Hi", "Say\n\nHuman: Hello"), rejected="No")
    append(path, row)
    assert read_dataset(path).records[-1].messages == row.messages


def test_a_new_file_is_made_and_unmade(tmp_path: Path) -> None:
    for name, begins in (("new/rows.jsonl", '{"messages"'), ("new/rows.json", "[\n{")):
        added = append(tmp_path / name, NEW)
        assert added.created and (tmp_path / name).read_text("utf-8").startswith(begins)
        assert read_dataset(tmp_path / name).records[0].messages == NEW.messages
        undo(added)
        assert not (tmp_path / name).exists()
    with pytest.raises(UserError, match="can't be created"):
        append(tmp_path / "rows.csv", NEW)


def test_tags_are_columns_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    append(path, NewRow(NEW.messages, tags={"category": "ration card", "language": "hi"}))
    append(path, NewRow(said("Hi", "Hello"), tags={"category": "", "language": " "}))
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert (rows[0]["category"], rows[0]["language"]) == ("ration card", "hi")
    assert list(rows[1]) == ["messages"]
    assert len(read_dataset(path).records) == 2


def test_pretty_lists_stay_pretty(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    rows = [ROWS["instruction"], {"instruction": "a", "output": "b"}]
    path.write_text(json.dumps(rows, indent=2) + "\n")
    append(path, NewRow(said("c", "d")))
    assert path.read_text() == json.dumps([*rows, {"instruction": "c", "output": "d"}], indent=2) + "\n"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    append(path, NewRow(said("e", "f")))
    assert b"\n" not in path.read_bytes().replace(b"\r\n", b"")


def test_line_ends_stay_as_they_are(tmp_path: Path) -> None:
    line = json.dumps(ROWS["instruction"]).encode()
    for end in (b"\r\n", b"\n", b"\r"):
        path = tmp_path / "rows.jsonl"
        path.write_bytes(line + end + line.replace(b"Hi", b"Hey") + end)
        append(path, NEW)
        assert path.read_bytes().count(end) == 3 and path.read_bytes().endswith(end)
        assert path.read_bytes().replace(end, b"").count(b"\r") == path.read_bytes().replace(end, b"").count(b"\n") == 0


# -- what is refused -----------------------------------------------------------------------------------------


def test_rows_of_another_kind_are_refused(tmp_path: Path) -> None:
    chat = write(tmp_path / "chat.jsonl", [ROWS["messages"]])
    pairs = write(tmp_path / "pairs.jsonl", [PAIRS["texts"]])
    labelled = write(tmp_path / "labelled.jsonl", [{**ROWS["prompt"], "label": True}])
    text = tmp_path / "text.txt"
    text.write_text("Plain text.\n")
    for path, row, words in ((chat, PAIR, "a preference pair. The other rows are conversations"),
                             (pairs, NEW, "a conversation. The other rows are preference pairs"),
                             (labelled, NEW, "answers marked"), (text, NEW, "Rows are added to JSONL")):
        before = path.read_bytes()
        with pytest.raises(UserError, match=f"(doesn't fit in|can be added )to {path.name}") as caught:
            append(path, row)
        assert words in caught.value.why and path.read_bytes() == before


@pytest.mark.parametrize("row", [
    NewRow(said("Hi", "  ")), NewRow(said(" ", "Hello")), NewRow(said("Hi")), NewRow(()),
    NewRow(said("Hi", "same"), rejected="same"), NewRow(said("Hi", "Hello"), rejected=""), NewRow(said("\ud83d", "x"))])
def test_incomplete_rows_are_refused_before_anything_is_touched(tmp_path: Path, row: NewRow) -> None:
    with pytest.raises(UserError, match="can't be added") as caught:
        append(tmp_path / "rows.jsonl", row)
    assert caught.value.why and not list(tmp_path.iterdir())


def test_the_same_row_is_refused_and_named(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [ROWS["question"], ROWS["prompt messages"] | {"prompt": list(said("a"))}])
    with pytest.raises(UserError, match="already") as caught:
        append(path, NewRow(said(" Hi", "Hello ")))
    assert "Line 1" in caught.value.why


def test_files_that_are_none(tmp_path: Path) -> None:
    for name, content in (("a.jsonl", b"\x00\x01\x02"), ("b.jsonl", b"{broken\n"), ("c.csv", b"q,a\n1,2\n"),
                          ("d.jsonl", b"PK\x03\x04zip")):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(UserError):
            append(path, NEW)
        assert path.read_bytes() == content
    with pytest.raises(UserError, match="is a folder"):
        append(tmp_path, NEW)


def test_a_row_without_its_end_does_not_swallow_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(ROWS["instruction"]) + '\n{"instruction": "half')
    append(path, NEW)
    found = read_dataset(path)
    assert len(found.records) == 2 and len(found.problems) == 1


# -- rows of the training data in a test set -----------------------------------------------------------------


def test_twins_in_the_training_data(tmp_path: Path) -> None:
    path = write(tmp_path / "train.jsonl", [
        {"messages": list(said("Hi", "Other", "And?", "More"))},
        {"system": "Kind.", "question": "Hi", "answer": "Hello"}, {"question": "Hi ", "answer": " Hello"}])
    assert find_twin(path, NewRow(said("Hi", "Hello"))) == Twin(2, True), "the system message makes no difference"
    assert find_twin(path, NewRow(said("Hi", "Third"))) == Twin(1, False)
    assert find_twin(path, NewRow(said("Hi", "Other", "And?", "Less"))) == Twin(1, False)
    assert find_twin(path, NewRow(said("Hello", "Hi"))) is None
    with pytest.raises(UserError):
        find_twin(tmp_path / "gone.jsonl", NEW)
