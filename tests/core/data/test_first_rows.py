"""What is shown of a file whose columns tell nothing, and what is kept of what a person said."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from support.workbooks import write_xlsx

from slmstudio.core.data import remembered
from slmstudio.core.data.read_options import ReadOptions
from slmstudio.core.data.reader import NoUsableRow, preview, read_dataset
from slmstudio.core.data.source import Source
from slmstudio.core.errors import UserError

ODD = "Fld 1,Fld-2,xx\n" + "".join(f"why {n},because {n},{n}\n" for n in range(40))


def test_the_first_rows_of_a_table(tmp_path: Path):
    file = tmp_path / "odd.csv"
    file.write_text(ODD, encoding="utf-8")
    found = preview(file)
    assert found.columns == ("Fld 1", "Fld-2", "xx") and len(found.rows) == 20
    assert found.rows[0] == {"Fld 1": "why 0", "Fld-2": "because 0", "xx": "0"}
    assert (found.format, found.encoding, found.assumed) == ("csv", "UTF-8", False)


def test_json_lines_have_the_columns_of_all_rows_that_are_looked_at(tmp_path: Path):
    file = tmp_path / "odd.jsonl"
    file.write_text("".join(json.dumps({"p": n} if n < 30 else {"p": n, "q": [n]}) + "\n" for n in range(60))
                    + "{broken\n", encoding="utf-8")
    assert preview(file).columns == ("p", "q")


def test_the_sheet_that_was_chosen_and_the_first_file_of_a_folder(tmp_path: Path):
    write_xlsx(tmp_path / "a.xlsx", {"eins": [["question", "answer"], ["x", "y"]],
                                     "zwei": [["prompt", "reply"], ["u", "v"]]})
    assert preview(tmp_path / "a.xlsx").columns == ("question", "answer")
    found = preview(tmp_path / "a.xlsx", options=ReadOptions(sheet="zwei"))
    assert found.columns == ("prompt", "reply") and found.rows == [{"prompt": "u", "reply": "v"}]
    assert found.sheets == ("zwei", "eins")
    assert preview(tmp_path).columns == ("question", "answer")


def test_a_file_that_is_not_there(tmp_path: Path):
    with pytest.raises(UserError, match="doesn't exist"):
        preview(tmp_path / "nowhere.csv")


def test_rows_that_tell_nothing_are_told_from_other_faults(tmp_path: Path):
    odd = tmp_path / "odd.csv"
    odd.write_text("Fld 1,Fld-2,xx\n" + "".join(f"{n},{n / 8},{n * 7}\n" for n in range(9)), encoding="utf-8")
    with pytest.raises(NoUsableRow):
        read_dataset(odd)
    (tmp_path / "empty.csv").touch()
    with pytest.raises(UserError) as caught:
        read_dataset(tmp_path / "empty.csv")
    assert not isinstance(caught.value, NoUsableRow)


def test_a_dataset_has_an_example_of_each_column(tmp_path: Path):
    file = tmp_path / "rows.jsonl"
    rows = [{"instruction": "एक\nदो", "output": "b", "id": None}, {"instruction": "c", "output": "d", "id": 7}]
    file.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    assert read_dataset(file).examples == {"instruction": "एक दो", "output": "b", "id": "7"}


def test_a_guessed_encoding_is_said_to_be_one(tmp_path: Path):
    file = tmp_path / "old.csv"
    file.write_bytes("question,answer\nWas ist schön?,Der Frühling.\n".encode("cp1252") * 3)
    assert read_dataset(file).assumed
    file.write_text("question,answer\nWas ist schön?,Der Frühling.\n", encoding="utf-8")
    assert not read_dataset(file).assumed


def test_what_was_said_is_kept_by_the_set_of_columns():
    known = remembered.with_said({}, ["b", "a"], "instruction=a,output=b")
    assert remembered.said_of(known, ("a", "b")) == "instruction=a,output=b"
    assert remembered.said_of(known, ("a", "b", "c")) == ""
    for number in range(remembered.MOST_SHAPES):
        known = remembered.with_said(known, [f"c{number}"], f"text=c{number}")
    assert len(known) == remembered.MOST_SHAPES and next(iter(known)) == f"c{remembered.MOST_SHAPES - 1}"
    assert remembered.said_of(known, ("a", "b")) == "", "the oldest is forgotten"
    assert remembered.said_of(remembered.with_said(known, ["c7"], ""), ["c7"]) == ""


@pytest.mark.parametrize("packed", [False, True])
def test_first_rows_do_not_wait_for_the_rest_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool):
    """No checksum is made of what is only looked at."""
    import pyarrow
    from pyarrow import parquet

    file = tmp_path / "rows.parquet"
    table = pyarrow.table({"question": [f"{n} " + "why? " * 200 for n in range(8000)], "answer": ["because"] * 8000})
    parquet.write_table(table, file, compression="none", use_dictionary=False, row_group_size=1000)
    if packed:
        with zipfile.ZipFile(tmp_path / "rows.zip", "w") as archive:
            archive.writestr("rows.jsonl", "".join(json.dumps(row) + "\n" for row in table.to_pylist() * 3))
        file = tmp_path / "rows.zip"
    read = [0]
    chunks = Source._raw_chunks

    def counted(self):
        for chunk in chunks(self):
            read[0] += len(chunk)
            yield chunk

    monkeypatch.setattr(Source, "_raw_chunks", counted)
    assert len(preview(file).rows) == 20
    assert read[0] < file.stat().st_size
