"""Going on from a finished run: what is kept, what is proposed, what is refused."""

from __future__ import annotations

import shutil

import pytest

from slmstudio.core import jobs
from slmstudio.core.errors import UserError
from slmstudio.core.run import adjust, checkpoints, folder
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.planning.follow_up import follow_up


@pytest.fixture
def finished(tmp_path):
    """A run folder as a finished run leaves it."""

    def make(state="finished", result="adapter", **changes):
        (tmp_path / "model").mkdir(exist_ok=True)
        (tmp_path / "rows.jsonl").write_text("{}\n", encoding="utf-8")
        config = RunConfig(**{
            "name": "helpdesk", "model": str(tmp_path / "model"), "train_file": str(tmp_path / "rows.jsonl"),
            "learning_rate": 3e-4, "max_steps": 40, "lora_rank": 8, "lora_alpha": 16,
            "reasons": {"lora_rank": "8 is enough.", "epochs": "You set this."}, **changes})
        run = folder.create(config, tmp_path / "runs").folder
        jobs.write_process_file(run, 99_999_999)
        jobs.write_outcome(run, jobs.Outcome(state))
        if result:
            (run / result).mkdir()
            (run / result / "weights").write_bytes(b"w" * 100)
            checkpoints.seal(run / result, 40)
        return run

    return make


def test_it_goes_on_from_the_result_more_slowly(finished, tmp_path):
    more = tmp_path / "more.jsonl"
    more.write_text("{}\n", encoding="utf-8")
    run = finished()
    config = follow_up(run, epochs=2, train_file=more)
    assert config.start_from == str(run)
    assert (config.name, config.epochs, config.max_steps) == ("helpdesk-2", 2.0, None)
    assert (config.method, config.lora_rank, config.lora_alpha) == ("lora", 8, 16)
    assert config.train_file == str(more)
    assert config.learning_rate == pytest.approx(1.5e-4)
    assert "0.0003" in config.reasons["learning_rate"]
    assert config.reasons["lora_rank"] == "As in the earlier run. 8 is enough."
    assert config.reasons["epochs"] == config.reasons["train_file"] == "You set this."
    assert not config.problems()
    assert RunConfig.from_dict(config.to_dict()) == config


def test_other_rows_are_held_out_and_evaluated_as_many_rows_are(finished, tmp_path):
    """Each evaluation reads all rows that are held out, and all of them together no more than are learned."""
    files = {}
    for name, count in (("many", 30_000), ("test", 1_500)):
        files[name] = tmp_path / f"{name}.jsonl"
        files[name].write_text("".join(f'{{"instruction": "What is {i}?", "output": "A number."}}\n'
                                       for i in range(count)), encoding="utf-8")
    run = finished(max_steps=None, epochs=1.0, eval_fraction=0.1, eval_steps=20, micro_batch_size=8,
                   gradient_accumulation_steps=1)
    config = follow_up(run, train_file=files["many"])
    assert config.eval_fraction == 0.0667 and "2,001 of 30,000 rows" in config.reasons["eval_fraction"]
    steps = -(-27_999 // 8)
    assert config.eval_steps == -(-steps // 12) and "over a third" in config.reasons["eval_steps"]
    assert follow_up(run, train_file=files["many"], eval_file=files["test"]).eval_steps == -(-30_000 // 8 // 19)
    kept = {"eval_fraction": 0.1, "eval_steps": 20}
    chosen = follow_up(finished(**kept, chosen=list(kept)), train_file=files["many"])
    assert {name: getattr(chosen, name) for name in kept} == kept


def test_without_a_word_the_rows_and_the_length_stay(finished):
    run = finished()
    config, old = follow_up(run), RunConfig.from_dict(jobs.Job(run).request())
    changed = {name for name in old.to_dict() if old.to_dict()[name] != config.to_dict()[name]}
    assert changed == {"name", "start_from", "learning_rate", "reasons"}


def test_it_keeps_what_the_run_changed_about_itself(finished):
    run = finished()
    adjust.record(run, {"micro_batch_size": 1, "gradient_accumulation_steps": 16})
    assert follow_up(run).micro_batch_size == 1


def test_names_count_on_and_reasons_are_said_once(finished, tmp_path):
    third = follow_up(finished(name="helpdesk-2", start_from=str(tmp_path), reasons={
        "seed": "As in the earlier run. Any number does."}))
    assert third.name == "helpdesk-3"
    assert third.reasons["seed"] == "As in the earlier run. Any number does."
    assert third.reasons["epochs"] == "As in the earlier run."


def test_overrides_by_any_name(finished):
    config = follow_up(finished(), overrides={"lr": "5e-5", "lora_dropout": "0.05", "lora_rank": "8"})
    assert (config.learning_rate, config.lora_dropout) == (5e-5, 0.05)
    assert config.reasons["learning_rate"] == "You set this."


def test_a_model_from_scratch_is_fine_tuned_the_next_time(finished):
    config = follow_up(finished(method="scratch", objective="text", result="model"))
    assert config.method == "full" and not config.problems()


def test_a_stopped_run_that_kept_its_work_will_do(finished):
    stopped = finished(state="stopped")
    assert follow_up(stopped).start_from == str(stopped)


def test_everything_wrong_is_said_at_once(finished, tmp_path):
    with pytest.raises(UserError) as error:
        follow_up(finished(state="failed", result=None), epochs=-1, train_file=tmp_path / "absent.jsonl",
                  overrides={"lora_rank": 64, "model": str(tmp_path), "method": "full", "colour": "red",
                             "warmup_fraction": "much"})
    found = {problem.field for problem in error.value.problems}
    assert found == {None, "epochs", "train_file", "lora_rank", "model", "method", "colour", "warmup_fraction"}


@pytest.mark.parametrize("state", ["failed", "crashed", "cancelled", "paused"])
def test_a_run_that_is_not_finished_is_refused(finished, state):
    with pytest.raises(UserError, match="can't be continued") as error:
        follow_up(finished(state=state))
    assert "slmstudio train" in str(error.value)


def test_a_damaged_or_missing_result_is_refused(finished):
    run = finished()
    (run / "adapter" / "weights").write_bytes(b"v" * 100)
    with pytest.raises(UserError, match="can't be continued") as error:
        follow_up(run)
    assert "weights was changed" in str(error.value)
    shutil.rmtree(run / "adapter")
    with pytest.raises(UserError, match="can't be continued") as error:
        follow_up(run)
    assert "is missing from" in str(error.value)


def test_a_base_that_is_gone_is_refused(finished, tmp_path):
    run = finished()
    (tmp_path / "model").rmdir()
    with pytest.raises(UserError, match="can't be continued") as error:
        follow_up(run)
    assert [problem.field for problem in error.value.problems] == ["model"]
