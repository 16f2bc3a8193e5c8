"""Benchmarks are fetched once from a hub, on the user's word, kept, and run offline with equal figures."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from support import gguf_models, hub_server

from slmstudio.core import files, jobs, paths
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation import benchmark_store as store
from slmstudio.worker.benchmark import fetch_job, tasks
from slmstudio.worker.evaluation import evaluate
from slmstudio.worker.runtime.context import Cancelled

LETTERS = ["A", "B", "C", "D"]


def _numbers(count: int) -> list[tuple[str, list[str], int]]:
    """Questions with four choices and the place of the right one."""
    return [(f"What is {n} + {n}?", [str(2 * n + off - n % 4) for off in range(4)], n % 4) for n in range(1, count + 1)]


def rows_of() -> dict[str, dict[str, dict[str, list[dict[str, Any]]]]]:
    """Data set: part: split: rows, in the forms in which the hub has them."""
    mmlu = [{"question": q, "subject": "anatomy", "choices": choices, "answer": right}
            for q, choices, right in _numbers(12)]
    arc = [{"id": f"q{n}", "question": q, "choices": {"text": choices, "label": LETTERS}, "answerKey": LETTERS[right]}
           for n, (q, choices, right) in enumerate(_numbers(9))]
    swag = [{"ind": n, "activity_label": "Cooking", "ctx_a": "A man [title] cuts.", "ctx_b": f"he {n}",
             "ctx": f"A man cuts. He {n}", "endings": ["eats.", "sleeps [x] now.", "runs away.", "sings."],
             "source_id": str(n), "split": "val", "split_type": "indomain", "label": str(n % 4)} for n in range(7)]
    hindi = [{"instruction": f"{q} हिंदी में", "option_a": choices[0], "option_b": choices[1], "option_c": choices[2],
              "option_d": choices[3], "answer": LETTERS[right], "id": f"anatomy/test/{n}"}
             for n, (q, choices, right) in enumerate(_numbers(8))]
    return {
        "cais/mmlu": {"anatomy": {"test": mmlu[5:], "validation": mmlu[:2], "dev": mmlu[:5]}},
        "allenai/ai2_arc": {"ARC-Easy": {"train": arc[:3], "test": arc[3:], "validation": arc[:2]}},
        "Rowan/hellaswag": {"default": {"train": swag[:3], "validation": swag[3:], "test": swag[:2]}},
        "alexandrainst/m_mmlu": {"hi": {"train": hindi[:2], "val": hindi[2:3], "test": hindi[3:]}},
    }


@pytest.fixture(scope="module")
def hub_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """Parquet files, and of one dataset lines, as many have them."""
    place = tmp_path_factory.mktemp("hub")
    found: dict[str, dict[str, bytes]] = {}
    for name, parts in rows_of().items():
        here, lines = found.setdefault(name, {}), name == "alexandrainst/m_mmlu"
        for part, splits in parts.items():
            for split, rows in splits.items():
                here[f"{part}/{split}{'.jsonl' if lines else '-00000-of-00001.parquet'}"] = (
                    b"".join(map(files.dump_line, rows)) if lines else hub_server.parquet(rows, place / "rows.parquet"))
        here["README.md"] = hub_server.card({part: {split: f"{part}/{split}{'.jsonl' if lines else '-*'}"
                                                    for split in splits} for part, splits in parts.items()})
    return found


@pytest.fixture
def hub(hub_files, studio_home, monkeypatch):
    with hub_server.serving(dict(hub_files)) as found:
        monkeypatch.setenv("HF_ENDPOINT", found.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, "127.0.0.1")
        yield found


def fetched(folder: Path, name: str) -> store.Fetched:
    return fetch_job.fetch(gguf_models.context(folder, kind="fetch_benchmark", name=name), name)


def figures(folder: Path, model: Path, name: str, data: Path | None, fetch: bool = False) -> dict[str, Any]:
    """Of an evaluation; with `fetch` in a worker of its own, whose child alone may use the network."""
    request = {"kind": "evaluate", "test": None, "precision": "fp32", "benchmark": {
        "name": name, "data": str(data) if data else None, "limit": None, "shots": 1, "fetch": fetch},
        "models": [{"name": "base", "model": str(model), "adapter": None, "gguf": None}]}
    if fetch:
        job = jobs.Job.create(folder, **request)
        job.start()
        assert job.wait().state == "finished", f"{job.outcome()}\n{job.log_tail()}"
        assert any(event["type"] == "phase" and event["phase"] == "fetching" for event in job.events())
    else:
        evaluate.run(gguf_models.context(folder, **request))
    scores = files.read_json(folder / "scores.json")
    kept = files.read_json(folder / "benchmark" / "model-0.json")
    assert scores is not None and kept is not None
    result = scores["benchmarks"][0]
    return {"title": result["title"], "models": result["models"], "samples": kept["samples"],
            "sets": result.get("data_sets")}


def leavings() -> list[str]:
    place = paths.benchmarks_dir()
    return [path.name for path in place.glob(".partial-*")] if place.exists() else []


@pytest.mark.full
@pytest.mark.timeout(300)
def test_fetched_once_kept_and_run_offline_with_equal_figures(hub, hub_files, tiny_model, tmp_path):
    wanted = {"mmlu_anatomy": ("cais/mmlu", 7), "arc_easy": ("allenai/ai2_arc", 6), "hellaswag": ("Rowan/hellaswag", 4),
              "m_mmlu_hi": ("alexandrainst/m_mmlu", 5)}
    for name in ("mmlu_anatomy", "arc_easy", "hellaswag"):
        found = fetched(tmp_path / f"fetch-{name}", name)
        assert found.bytes and hub_server.COMMIT[:8] in found.sentence()
    online = figures(tmp_path / "online", tiny_model, "m_mmlu_hi", None, fetch=True)
    asked = len(hub.asked)
    assert asked and not leavings()
    hub.stop()
    for name, (data_set, rows) in wanted.items():
        fetched(tmp_path / "again", name)  # what is here isn't asked for
        folder = tmp_path / "by-hand" / name
        for path, data in hub_files[data_set].items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        offline = figures(tmp_path / f"offline-{name}", tiny_model, name, None)
        by_hand = figures(tmp_path / f"hand-{name}", tiny_model, name, folder)
        assert offline["models"][0]["accuracy"]["rows"] == rows
        assert offline["samples"] == by_hand["samples"], name
        assert offline["models"][0]["accuracy"] == by_hand["models"][0]["accuracy"]
        assert offline["sets"][0]["dataset"] == data_set and offline["sets"][0]["revision"] == hub_server.COMMIT
    assert len(hub.asked) == asked
    assert offline == online and offline["title"] == "MMLU in Hindi"


@pytest.mark.full
def test_what_fails_is_a_sentence_and_nothing_half_is_kept(hub, studio_home, tmp_path, monkeypatch):
    def refused(name: str) -> str:
        with pytest.raises(UserError) as caught:
            fetched(tmp_path / "job", name)
        error = caught.value
        assert error.what and error.why and "--data" in error.remedy
        assert store.find(name) is None and not leavings()
        assert not list((paths.benchmarks_dir() / store.DATA).iterdir())
        return f"{error.what} {error.why}"

    del hub.files["Rowan/hellaswag"]
    assert "Rowan/hellaswag couldn't be downloaded. The hub doesn't have it" in refused("hellaswag")
    hub.files["Rowan/hellaswag"] = {"README.md": b"# nothing\n", "data/train.parquet": b"PAR1 no parquet at all"}
    assert "The downloaded data is damaged, or isn't a dataset" in refused("hellaswag")
    hub.mode = "html"
    assert "What answered isn't the hub" in refused("arc_easy")
    hub.mode = "half"
    assert "the connection was lost" in refused("arc_easy")
    hub.stop()
    assert "The hub can't be reached" in refused("arc_easy")
    with pytest.raises(UserError) as caught:
        fetched(tmp_path / "job", "arc_eazy")
    assert "arc_easy" in caught.value.why


def test_cancel_ends_a_download_in_the_middle(hub, tmp_path):
    hub.mode = "stall"
    job = gguf_models.context(tmp_path / "job", kind="fetch_benchmark", name="arc_easy")
    def cancel() -> None:
        while not any(path.endswith(".parquet") for path in hub.asked):
            if hub.go_on.wait(0.02):
                return
        jobs.Job(job.folder).send("cancel")

    threading.Thread(target=cancel, daemon=True).start()
    with pytest.raises(Cancelled):
        fetch_job.fetch(job, "arc_easy")
    assert store.find("arc_easy") is None and not leavings()
    told = [event for event in gguf_models.events(job.folder) if event["type"] == "progress"]
    assert told[0]["unit"] == "data sets" and told[0]["total"] == 1


@pytest.mark.full
def test_data_that_were_spoilt_are_fetched_again(hub, tmp_path):
    folder = fetched(tmp_path / "first", "arc_easy").data_sets[0].folder
    file = next(folder.glob("*.parquet"))
    for spoil in (lambda: file.write_bytes(file.read_bytes()[:-1]), lambda: shutil.rmtree(folder)):
        spoil()
        with pytest.raises(UserError, match="no longer complete"):
            store.find("arc_easy")
        assert fetched(tmp_path / "again", "arc_easy").data_sets[0].folder == folder
        assert store.find("arc_easy") is not None and not leavings()


def test_a_group_that_has_gained_a_task_is_fetched_anew(hub, tmp_path, monkeypatch):
    whole = tasks.sources_of("arc_easy")
    fetched(tmp_path / "first", "arc_easy")
    store.write_record("ai2_arc", {"old_task": next(iter((paths.benchmarks_dir() / store.DATA).iterdir())).name})
    with pytest.raises(UserError, match="--benchmark ai2_arc --fetch") as caught:
        tasks.write_tasks("ai2_arc", None, tmp_path / "tasks")
    assert "ai2_arc" in caught.value.what
    monkeypatch.setattr(fetch_job, "sources_of", lambda name: whole)  # the hub here has no ARC-Challenge
    asked = len(hub.asked)
    assert set(fetched(tmp_path / "second", "ai2_arc").tasks) == {"arc_easy"}
    assert len(hub.asked) == asked, "what is whole is not fetched again"


def test_data_that_were_spoilt_are_found_out(studio_home, tmp_path):
    folder = paths.benchmarks_dir() / store.DATA / "some--set"
    folder.mkdir(parents=True)
    (folder / "test.parquet").write_bytes(b"rows")
    store.write_source(folder, "some/set", "", "", {"test": 1})
    store.write_record("some_task", {"some_part": "some--set"})
    for name in ("some_task", "some_part"):
        assert [each.folder for each in store.find(name).data_sets] == [folder]
    assert store.find("other") is None and store.find("../x") is None
    (folder / "test.parquet").write_bytes(b"ROWS")
    with pytest.raises(UserError, match="no longer complete"):
        store.read_data_set(folder, hashes=True)
    (folder / "test.parquet").write_bytes(b"row")
    with pytest.raises(UserError) as caught:
        store.find("some_task")
    assert "download the benchmark again" in caught.value.remedy


def test_what_has_arrived_is_counted_while_folders_come_and_go(tmp_path):
    (tmp_path / "data").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("data")
    over = threading.Event()

    def come_and_go() -> None:
        while not over.is_set():
            (tmp_path / "tmp" / "below").mkdir(parents=True)
            shutil.rmtree(tmp_path / "tmp")

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        assert {sum(files.sizes_below(tmp_path)) for _ in range(500)} == {5}
    finally:
        over.set()
        thread.join()
