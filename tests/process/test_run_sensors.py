"""A real worker watches a fake card through the real pynvml."""

from __future__ import annotations

import pytest

from slmstudio.core import jobs
from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig


@pytest.fixture
def start(tmp_path, tiny_model, rows_file):
    started: list[jobs.Job] = []

    def call() -> jobs.Job:
        config = RunConfig(name="trial", model=str(tiny_model), train_file=str(rows_file), max_steps=100_000,
                           eval_fraction=0.25, eval_steps=10**6, save_steps=10**6, device="cpu", threads=1)
        job = folder.create(config, tmp_path / "runs")
        job.start()
        started.append(job)
        return job

    yield call
    for job in started:
        job.kill()


def first(job: jobs.Job, wanted) -> dict:
    for event in job.follow():
        if wanted(event):
            return event
    pytest.fail(f"{job.outcome()}\n{job.log_tail()}")


def test_temperature_power_and_memory_are_sampled_and_heat_is_warned_of(start, fake_nvml):
    fake_nvml.set(temperature=60)
    job = start()
    gpu = first(job, lambda e: e["type"] == "sensors" and e["gpu"])["gpu"]
    assert gpu["temperature_c"] == 60 and gpu["power_w"] > 0 and gpu["memory_total"] > 0
    fake_nvml.set(temperature=gpu["slowdown_c"] - 5)
    warning = first(job, lambda e: e["type"] == "warning")
    assert warning["code"] == "gpu_hot"
    assert f"{gpu['slowdown_c'] - 5} °C" in warning["message"]
    assert f"{gpu['slowdown_c']} °C" in warning["message"]


@pytest.mark.full
def test_a_lost_card_is_said_and_does_not_end_a_run_on_the_processor(start, fake_nvml):
    job = start()
    first(job, lambda e: e["type"] == "sensors" and e["gpu"])
    fake_nvml.set(every_query="GPU_IS_LOST")
    assert first(job, lambda e: e["type"] == "warning")["code"] == "gpu_lost"
    assert job.is_alive()


@pytest.mark.full
def test_no_card_is_said_once_in_words(start):
    job = start()
    said = first(job, lambda e: e["type"] == "sensors_unavailable")
    assert said["reason"].endswith(".")
    sample = first(job, lambda e: e["type"] == "sensors")
    assert sample["gpu"] is None and sample["process_memory"] > 0
