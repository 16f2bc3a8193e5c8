"""Mixing datasets: exact counts, the same rows for the same seed, and rows of one kind alone."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from slmstudio.core.data.reader import Dataset, read_dataset
from slmstudio.core.data.versions import store
from slmstudio.core.data.versions.edits import Part, mix, sources
from slmstudio.core.errors import UserError


@pytest.fixture
def made(tmp_path: Path):
    def make(name: str, rows: int, **columns: str) -> Dataset:
        file = tmp_path / f"{name}.jsonl"
        pattern = columns or {"instruction": "{n} of {name}?", "output": "{n}"}
        file.write_text("".join(json.dumps({key: text.format(n=n, name=name) for key, text in pattern.items()}) + "\n"
                                for n in range(rows)), encoding="utf-8")
        return read_dataset(file)

    return make


def test_each_part_gives_exactly_its_share(made):
    a, b, c = made("a", 10), made("b", 7), made("c", 3)
    rows = mix([Part(a, 0.5), Part(b, 1), Part(c, 2.5)], seed=1)
    by_name = Counter(record.prompt[0].split()[2] for record in rows)
    assert by_name == {"a?": 5, "b?": 7, "c?": 8}
    assert len({record.prompt for record in rows if " a?" in record.prompt[0]}) == 5  # sampled without repeats
    times = Counter(record.prompt for record in rows if " c?" in record.prompt[0])
    assert sorted(times.values()) == [2, 3, 3]


def test_the_same_seed_gives_the_same_rows(made):
    parts = [Part(made("a", 50), 0.3), Part(made("b", 50), 0.4)]
    assert mix(parts, 7) == mix(parts, 7) != mix(parts, 8)


def test_rows_of_other_kinds_and_bad_weights_are_told_together(made):
    chat, text = made("chat", 3), made("story", 3, text="line {n}")
    with pytest.raises(UserError) as told:
        mix([Part(chat, 0), Part(text, 1)], 0)
    assert [each.message.split(".")[0] for each in told.value.problems] == [
        "0 can't be the weight of chat", "story"]
    with pytest.raises(UserError, match="nothing to mix"):
        mix([Part(chat)], 0)


def test_a_mix_knows_all_its_sources(made, studio_home: Path):
    parts = [Part(made("a", 4), 0.5), Part(made("b", 4), 2)]
    file = store.write(mix(parts, 3), sources(parts), [{"mix": 10}], like=Path("a-mix"), seed=3)
    assert file.name == "a-mix-v1.jsonl" and read_dataset(file).count == 10
    lineage = store.read_lineage(file)
    assert lineage is not None and lineage.before is None
    assert [(each.name, each.weight, each.rows) for each in lineage.sources] == [("a.jsonl", 0.5, 2), ("b.jsonl", 2, 8)]
