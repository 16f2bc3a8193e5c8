"""YAML and XML are read as the JSON that says the same."""

from __future__ import annotations

import pytest

from slmstudio.core.data.opening import SUFFIXES
from slmstudio.core.data.reader import read_dataset
from slmstudio.core.errors import UserError

READ = {
    "faq.yaml": ("faq:\n- q: Who pays the rent?\n  a: The tenant.\n- q: When?\n  a: Each month.\n",
                 "Who pays the rent?", "The tenant."),
    "cards.yml": ("ghat: steps down to a river\nvada: a large house with a yard\nnaka: where a toll is paid\n"
                  "peth: a part of the old town\nmaidan: an open place in town\n", "ghat", "steps down to a river"),
    "faq.xml": ("<faq><item><question>Who pays?</question><answer>The tenant.</answer></item>"
                "<item><question>When?</question><answer>Each month.</answer></item></faq>",
                "Who pays?", "The tenant."),
    "app.xml": ('<?xml version="1.0"?><xliff xmlns="urn:x"><file><body><trans-unit id="1"><source>Save</source>'
                "<target>सहेजें</target></trans-unit><trans-unit><source>Open</source><target>खोलें</target>"
                "</trans-unit></body></file></xliff>", "Save", "सहेजें"),
}


ALIASES = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))


@pytest.mark.parametrize("name", READ)
def test_rows_are_found_as_in_json(tmp_path, name):
    text, asked, answered = READ[name]
    (tmp_path / name).write_text(text, encoding="utf-8")
    record = read_dataset(tmp_path / name).records[0]
    assert [each["content"] for each in record.messages] == [asked, answered]


@pytest.mark.parametrize(("name", "text"), [
    ("a.yaml", "a: [1, 2"), ("aliases.yaml", ALIASES), ("itself.yaml", "a: &a [*a]"),
    ("a.xml", "<a><b></a>"), ("b.xml", '<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>')])
def test_what_is_damaged_is_refused(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError):
        read_dataset(tmp_path / name)


def test_such_files_are_looked_for_in_folders():
    assert {".yaml", ".yml", ".xml"} <= set(SUFFIXES)
