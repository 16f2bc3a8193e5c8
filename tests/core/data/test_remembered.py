"""Which datasets were open, as the settings keep it."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from slmstudio.core import settings
from slmstudio.core.data import remembered
from slmstudio.core.data.remembered import MOST, Remembered
from slmstudio.core.settings import Settings

JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3))
CHOICES = dict.fromkeys(("eval_path", "eval_fraction", "split_seed", "sha256", "open", "shown", "used", "said",
                         "eval_said", "split_by"), JSON)
STATES = st.lists(JSON | st.fixed_dictionaries({"path": st.sampled_from(["/a", "b", "", 3])}, optional=CHOICES))


def test_what_is_kept_is_read(studio_home: Path, tmp_path: Path):
    first = Remembered(tmp_path / "क.jsonl", tmp_path / "test.jsonl", 0.25, 7, "ab", open=True, shown=True, used=True,
                       said="instruction=क,output=b", eval_said="sheet=2", split_by="language")
    wanted = Settings(datasets=[first.to_dict(), Remembered(tmp_path / "b.txt").to_dict()])
    wanted.save()
    loaded, trouble = settings.load()
    assert trouble is None
    assert remembered.read_all(loaded.datasets) == [first, Remembered(tmp_path / "b.txt")]


@given(STATES)
def test_whatever_the_settings_hold_nothing_breaks(states):
    for each in remembered.read_all(states):
        assert each.path.is_absolute() and 0 <= (each.eval_fraction or 0) <= 0.5 and 0 <= each.split_seed < 2**31
        assert remembered.read_all([json.loads(json.dumps(each.to_dict()))]) == [each]


def test_the_open_ones_come_first_and_the_oldest_is_forgotten(tmp_path: Path):
    before = [Remembered(tmp_path / f"{n}.jsonl", open=n < 3, used=n == 1) for n in range(MOST)]
    now = [Remembered(tmp_path / "new.jsonl", open=True)]
    after = remembered.with_open(before, now)
    assert [each.path.stem for each in after[:4]] == ["new", "0", "1", "2"] and len(after) == MOST
    assert not any(each.open or each.used for each in after[1:])


def test_a_written_file_comes_first_among_those_that_are_not_open(tmp_path: Path):
    names = [tmp_path / name for name in ("open", "old", "written")]
    known = [Remembered(names[0], open=True), Remembered(names[1]), Remembered(names[2], split_seed=4)]
    assert remembered.with_written(known, names[2]) == [known[0], known[2], known[1]]
    assert remembered.with_written(known, names[0]) == known
    assert remembered.without(known, names[1]) == [known[0], known[2]]


def test_a_file_that_is_gone_and_a_folder_that_is_gone_are_told_apart(tmp_path: Path):
    there = tmp_path / "rows.jsonl"
    there.touch()
    assert remembered.trouble(there) is None
    gone = remembered.trouble(tmp_path / "gone.jsonl")
    assert gone.what == f"gone.jsonl is no longer in {tmp_path}." and not gone.whole_folder
    unplugged = remembered.trouble(tmp_path / "usb" / "rows.jsonl")
    assert unplugged.what == "rows.jsonl can't be reached." and "unplugged" in unplugged.why and unplugged.whole_folder
