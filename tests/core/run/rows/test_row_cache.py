"""Rows of a large file are read once: the next run on the same file has them from the cache."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from support.kept import keep

from slmstudio.core import paths
from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.rows import run_rows, saving_rows


@pytest.fixture
def config(tmp_path, studio_home, monkeypatch) -> RunConfig:
    monkeypatch.setattr(saving_rows, "LEAST_BYTES", 10)
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"instruction": f"Q {n}?", "output": "A."}) + "\n" for n in range(20)),
                    encoding="utf-8")
    return RunConfig(name="helpdesk", model=str(tmp_path), train_file=str(file), eval_fraction=0.25)


def kept(config: RunConfig, parent: Path) -> run_rows.SavedRows:
    run = folder.create(config, parent).folder
    found = keep(run, config)
    saving_rows.put_into_cache(run, saving_rows.cache_key(config))
    return found


def new_run(config: RunConfig, parent: Path) -> Path:
    return folder.create(config, parent).folder


def test_another_run_has_the_same_rows_and_its_own_path(config, tmp_path):
    first = kept(config, tmp_path / "runs")
    elsewhere = tmp_path / "copy" / "rows.jsonl"
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(Path(config.train_file).read_bytes())
    other = replace(config, train_file=str(elsewhere))
    run = new_run(other, tmp_path / "runs")
    found = saving_rows.take_cached(run, saving_rows.cache_key(other), other)
    assert found == run_rows.read(run) and found.manifest.is_of(other)
    assert (found.train, found.evaluation) == (first.train, first.evaluation)
    assert found.source.path == str(elsewhere) and not list(run.glob(".*"))


def test_whatever_decides_the_rows_decides_the_key(config, tmp_path):
    keys = {saving_rows.cache_key(config)}
    for changes in ({"split_seed": 1}, {"eval_fraction": 0.1}, {"split_by": "language"}, {"train_map": "text=output"}):
        keys.add(saving_rows.cache_key(replace(config, **changes)))
    with open(config.train_file, "a", encoding="utf-8") as file:
        file.write('{"instruction": "More?", "output": "Yes."}\n')
    keys.add(saving_rows.cache_key(config))
    assert len(keys) == 6 and None not in keys
    assert saving_rows.cache_key(replace(config, eval_file=config.train_file)) is None
    assert saving_rows.cache_key(replace(config, train_file=str(tmp_path))) is None


def test_small_files_are_read_each_time(config, monkeypatch):
    monkeypatch.setattr(saving_rows, "LEAST_BYTES", 10_000)
    assert saving_rows.cache_key(config) is None


@pytest.mark.parametrize("harm", [run_rows.MANIFEST, "train.jsonl.gz", "gone"])
def test_a_damaged_entry_is_removed_and_not_used(config, tmp_path, harm):
    kept(config, tmp_path / "runs")
    [entry] = (paths.cache_dir() / "rows").iterdir()
    if harm == "gone":
        (entry / "eval.jsonl.gz").unlink()
    else:
        (entry / harm).write_bytes((entry / harm).read_bytes()[:-9])
    run = new_run(config, tmp_path / "runs")
    assert saving_rows.take_cached(run, saving_rows.cache_key(config), config) is None
    assert not entry.exists() and run_rows.read(run) is None and not list(run.glob(".*"))


def test_entries_not_used_for_the_longest_time_go(config, tmp_path, monkeypatch):
    kept(config, tmp_path / "runs")
    [oldest] = (paths.cache_dir() / "rows").iterdir()
    size = sum(file.stat().st_size for file in oldest.iterdir())
    os.utime(oldest, (1, 1))
    monkeypatch.setattr(saving_rows, "MOST_BYTES", int(1.5 * size))
    kept(replace(config, split_seed=1), tmp_path / "runs")
    [entry] = (paths.cache_dir() / "rows").iterdir()
    assert not oldest.exists()
    monkeypatch.setattr(saving_rows, "MOST_BYTES", size // 2)
    kept(replace(config, split_seed=2), tmp_path / "runs")
    [largest] = (paths.cache_dir() / "rows").iterdir()
    assert largest != entry, "the one just made stays, and the one before goes"
