"""A run learns the rows that it began with, and rows that were encoded once aren't encoded again."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from support import small_runs
from support.kept import keep
from support.tiers import first_fast

from slmstudio.core import disk_space, files, jobs, paths
from slmstudio.core.data.reader import read_dataset
from slmstudio.core.errors import UserError
from slmstudio.core.model import template_client
from slmstudio.core.model.chat_template import ChatTemplate
from slmstudio.core.run import checkpoints, folder
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.rows import run_rows, saving_rows
from slmstudio.worker.parity.reference import own_rows
from slmstudio.worker.runtime.context import JobContext
from slmstudio.worker.training import loading, methods, train, training_rows
from slmstudio.worker.training.training_rows import NothingLearned, read_rows


@pytest.fixture
def make_job(tmp_path, tiny_model, rows_file, studio_home):
    return small_runs.maker(tmp_path, tiny_model, rows_file, eval_steps=4)


def config_of(job: JobContext) -> RunConfig:
    return RunConfig.from_dict(job.request)


def warnings(job: JobContext) -> list[str]:
    return [event["code"] for event in jobs.Job(job.folder).events() if event["type"] == "warning"]


def losses(job: JobContext) -> dict[int, float]:
    return {event["global_step"]: event["train_loss"] for event in jobs.Job(job.folder).events()
            if event["type"] == "step"}


def train_in_part(job: JobContext) -> None:
    """Two steps of four; then the memory is freed."""
    honest, sent = job.commands, []

    def commands():
        if not sent and 2 in losses(job):
            sent.append(1)
            return [{"command": "free"}]
        return honest()

    job.commands = commands
    assert train.run(job)["state"] == "paused"


def change(file: Path, harm: str) -> None:
    if harm == "deleted":
        file.unlink()
    else:
        file.write_text('{"instruction": "Is this another file?", "output": "It is."}\n' * 9, encoding="utf-8")


@pytest.fixture
def counted(monkeypatch) -> list[int]:
    """An entry for each conversation that is rendered to be encoded."""
    found, honest = [], template_client.render_rows

    def render_rows(template, conversations, *known):
        found.extend([1] * len(conversations))
        return honest(template, conversations, *known)

    monkeypatch.setattr(template_client, "render_rows", render_rows)
    return found


# -- the rows ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("harm", first_fast(["deleted", "edited"]))
def test_a_resumed_run_repeats_its_rows_whatever_became_of_the_file(make_job, rows_file, harm):
    whole, job = make_job(), make_job()
    train.run(whole)
    train_in_part(job)
    change(rows_file, harm)
    assert train.run(JobContext(job.folder, job.request))["steps"] == 4
    assert losses(job) == losses(whole) and not warnings(job)


def test_a_run_of_before_goes_on_with_its_file(make_job, rows_file):
    """It kept no rows. They are kept now where the file is proven to be the same, and a changed file is told."""
    job = make_job()
    train_in_part(job)
    shutil.rmtree(job.folder / run_rows.FOLDER)
    kept = read_rows(config_of(job), job)
    assert kept == run_rows.read(job.folder) and not warnings(job)
    shutil.rmtree(job.folder / run_rows.FOLDER)
    change(rows_file, "edited")
    assert train.run(JobContext(job.folder, job.request))["steps"] == 4
    assert warnings(job) == ["data_changed"] and run_rows.read(job.folder) is None


def test_damaged_rows_are_read_again_or_named(make_job, rows_file):
    job = make_job()
    kept, place = read_rows(config_of(job), job), job.folder / run_rows.FOLDER / "train.jsonl.gz"
    place.write_bytes(b"")
    assert read_rows(config_of(job), job) == kept == run_rows.read(job.folder)
    assert warnings(job) == ["kept_rows_mended"]
    place.write_bytes(b"")
    change(rows_file, "edited")
    with pytest.raises(UserError, match=r"are damaged\. train\.jsonl\.gz"):
        read_rows(config_of(job), job)


def test_a_run_that_has_learned_nothing_may_be_given_other_rows(make_job, tmp_path):
    job = make_job()
    read_rows(config_of(job), job)
    other = tmp_path / "other.jsonl"
    change(other, "made")
    job.request["train_file"] = str(other)
    assert len(read_rows(config_of(job), job).train) == 9
    (job.folder / folder.CHECKPOINTS / "step-000001").mkdir(parents=True)
    assert checkpoints.all_checkpoints(job.folder / folder.CHECKPOINTS)
    job.request["eval_fraction"] = 0.0
    assert len(read_rows(config_of(job), job).train) == 9


def test_the_proof_asks_the_kept_rows(make_job, rows_file):
    job = make_job()
    source = SimpleNamespace(folder=job.folder, rows=(rows_file,))
    wanted = own_rows(job, source)
    kept = read_rows(config_of(job), job)
    change(rows_file, "edited")
    assert own_rows(job, source) == wanted
    assert wanted[:len(kept.evaluation)] == [list(row.messages) for row in kept.evaluation]
    (job.folder / run_rows.FOLDER / "train.jsonl.gz").unlink()
    assert own_rows(job, source)[0][0]["content"] == "Is this another file?"


# -- the tokens --------------------------------------------------------------------------------------------


def encoded(job: JobContext, **changes):
    """The rows to learn as tokens, and what `encode` was asked with."""
    config = RunConfig(**{**vars(config_of(job)), **changes})
    rows = run_rows.read(job.folder) or keep(job.folder, config)
    return loading.encode(rows.train, rows.sha256("train"), methods.load_tokenizer(Path(config.model)),
                              ChatTemplate.from_folder(config.model), config, job, "tokenizing")


def entries() -> list[Path]:
    return sorted((paths.cache_dir() / "tokens").glob("*"))


def test_a_second_run_with_the_same_rows_encodes_none(make_job, counted):
    first, second = make_job(), make_job()
    one = train.run(first)
    assert len(counted) == 8 and len(entries()) == 2  # rows to learn, and rows to evaluate
    two = train.run(second)
    assert len(counted) == 8 and losses(first) == losses(second)
    assert one["eval_loss_after"] == two["eval_loss_after"]
    assert any("are those of an earlier run" in event.get("message", "")
               for event in jobs.Job(second.folder).events() if event["type"] == "log")


def test_a_second_run_on_a_large_file_reads_none_of_it(make_job, monkeypatch, counted):
    """Its rows come from the cache and their tokens are mapped into memory, not read into it."""
    monkeypatch.setattr(saving_rows, "LEAST_BYTES", 10)
    first, second = make_job(), make_job()
    train.run(first)
    monkeypatch.setattr(saving_rows, "read", lambda *arguments, **options: pytest.fail("the file was read"))
    calls = len(counted)
    train.run(second)
    assert losses(first) == losses(second) and len(counted) == calls and not warnings(second)
    mapped = Path("/proc/self/maps")
    if mapped.exists():
        rows = encoded(second)
        assert str(entries()[0]) in mapped.read_text() or str(entries()[1]) in mapped.read_text()
        assert training_rows.lengths(rows).tolist() == [len(ids) for ids in rows["input_ids"]]


@pytest.mark.parametrize("objective", ["dpo", "orpo", "kto"])
def test_pairs_are_kept_too(make_job, tmp_path, counted, objective):
    row = {"prompt": "Well?", "completion": "Well.", "label": True} if objective == "kto" else {
        "prompt": "Well?", "chosen": "Well.", "rejected": "No."}
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps({**row, "prompt": f"Well {n}?"}) + "\n" for n in range(6)), encoding="utf-8")
    job = make_job(train_file=str(file), objective=objective, eval_fraction=0.0, seed=5)
    first = encoded(job)
    calls = len(counted)
    assert encoded(job).to_list() == first.to_list() and len(counted) == calls
    encoded(job, seed=6)
    assert (len(counted) > calls) == (objective == "kto")  # which puts rows together by the seed


def test_whatever_decides_the_tokens_makes_them_anew(make_job, tiny_model, tmp_path, counted, rows_file):
    encoded(make_job())
    calls, model = len(counted), shutil.copytree(tiny_model, tmp_path / "copy")
    encoded(make_job(model=str(model)))
    assert len(counted) == calls, "the same model elsewhere"
    (model / "chat_template.jinja").write_text(
        (model / "chat_template.jinja").read_text(encoding="utf-8").replace("<|im_end|>", "<|im_end|> "),
        encoding="utf-8")
    tokenizer = shutil.copytree(tiny_model, tmp_path / "other")
    state = files.read_json(tokenizer / "tokenizer.json")
    state["model"]["merges"] = state["model"]["merges"][:-1]
    (tokenizer / "tokenizer.json").write_text(json.dumps(state), encoding="utf-8")
    more = tmp_path / "more.jsonl"
    more.write_text(rows_file.read_text(encoding="utf-8") + '{"instruction": "More?", "output": "Yes."}\n',
                    encoding="utf-8")
    for changes in ({"model": str(model)}, {"model": str(tokenizer)}, {"max_length": 127}, {"train_file": str(more)},
                    {"completion_only_loss": False}, {"objective": "text"}):
        calls = len(counted)
        encoded(make_job(**changes))
        assert len(counted) > calls, changes


def test_what_was_lost_is_told_each_time(make_job, counted):
    jobs_ = [make_job(max_length=22), make_job(max_length=22)]
    for job in jobs_:
        encoded(job)
    first, second = ([event["message"] for event in jobs.Job(job.folder).events() if event["type"] == "warning"]
                     for job in jobs_)
    assert first == second and len(first) == 2 and len(counted) == len(read_rows(config_of(job), job).train)
    for _ in range(2):
        with pytest.raises(NothingLearned):
            encoded(make_job(max_length=4))


@pytest.mark.parametrize("harm", ["rows", "about", "gone"])
def test_a_damaged_entry_is_made_again(make_job, counted, harm):
    job = make_job()
    wanted = encoded(job).to_list()
    [entry] = entries()
    if harm == "rows":
        content = bytearray((entry / loading.ROWS).read_bytes())
        content[-40] ^= 0xFF
        (entry / loading.ROWS).write_bytes(content)
    elif harm == "about":
        (entry / loading.ABOUT).write_text('{"losses": 3}')
    else:
        (entry / loading.ROWS).unlink()
    calls = len(counted)
    assert encoded(job).to_list() == wanted and len(counted) == 2 * calls
    assert encoded(job).to_list() == wanted and len(counted) == 2 * calls and entries() == [entry]


def test_a_full_disk_is_no_failure(make_job, monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    job = make_job()
    read_rows(config_of(job), job)
    monkeypatch.setattr(loading.pyarrow, "OSFile", full)
    assert len(encoded(job)) > 0 and entries() == []
    assert any("are not kept for the next run" in event.get("message", "") for event in jobs.Job(job.folder).events())


def test_those_not_used_for_the_longest_time_go(make_job, monkeypatch):
    job = make_job()
    encoded(job)
    [oldest] = entries()
    size = sum(file.stat().st_size for file in oldest.iterdir())
    os.utime(oldest, (1, 1))
    left = paths.cache_dir() / "tokens" / ".x.partial"
    left.mkdir()
    os.utime(left, (1, 1))
    encoded(job, max_length=127)
    assert len(entries()) == 2 and not left.exists()
    monkeypatch.setattr(loading, "MOST_BYTES", 2.5 * size)
    encoded(job)  # used now
    encoded(job, max_length=126)
    assert len(entries()) == 2 and oldest in entries()


def test_tokens_beyond_what_is_kept_are_encoded_once_all_the_same(make_job, monkeypatch, counted):
    monkeypatch.setattr(loading, "MOST_BYTES", 1)
    job = make_job()
    wanted = encoded(job).to_list()
    calls, [entry] = len(counted), entries()
    assert calls == len(wanted) and encoded(job).to_list() == wanted and len(counted) == calls
    encoded(job, max_length=127)
    assert len(entries()) == 1 and entry not in entries()


def test_the_second_of_two_equal_runs_takes_the_tokens_of_the_first(make_job, monkeypatch, counted):
    """Both begin before either is done."""
    job, honest = make_job(), loading._keep
    both = [make_job()]

    def keep(*arguments):
        if both:
            encoded(both.pop())
        return honest(*arguments)

    monkeypatch.setattr(loading, "_keep", keep)
    rows = encoded(job)
    [entry] = entries()
    assert len(counted) == 2 * len(rows)
    assert [file["filename"] for file in rows.cache_files] == [str(entry / loading.ROWS)]
    assert not [event for event in jobs.Job(job.folder).events() if "are not kept" in event.get("message", "")]


def test_nothing_is_kept_where_checkpoints_need_the_room(make_job, monkeypatch):
    monkeypatch.setattr(disk_space, "free", lambda where: loading.ROOM)
    job = make_job()
    assert len(encoded(job)) == len(read_dataset(job.request["train_file"]).records) - 2 and entries() == []
