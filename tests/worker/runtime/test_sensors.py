"""A run's sensors on a fake card that changes from reading to reading."""

import threading

import pytest
from support import wait

from slmstudio.core import jobs
from slmstudio.core.hardware import guard, nvml
from slmstudio.core.hardware.readings import MachineReader
from slmstudio.worker.runtime import ending, sensors
from slmstudio.worker.runtime.context import JobContext
from slmstudio.worker.runtime.sensors import Sensors

UUID = "3e5a9c41-0f2b-4d7e-8a61-5c0d2e9b7f10"


@pytest.fixture
def watch(tmp_path, fake_nvml, monkeypatch):
    """`watch(moments, uuids)` lets sensors read as many moments; the events of that."""
    monkeypatch.setattr(sensors, "PERIOD_SECONDS", 0.002)
    monkeypatch.setattr(sensors, "LOST_SECONDS", 0.0)
    job = JobContext(tmp_path, {"kind": "train"})

    def call(moments, uuids=None, wanted=None):
        fake_nvml.play(moments)
        with_sensors = Sensors(job, uuids)
        try:
            wait.until(lambda: count() >= (wanted or len(moments)), "the readings")
            call.newest, call.lost = with_sensors.newest, with_sensors.lost
        finally:
            with_sensors.close()
        return list(jobs.Job(tmp_path).events())

    def count():
        return sum(event["type"] == "sensors" for event in jobs.Job(tmp_path).events())

    yield call
    assert fake_nvml.users() == 0


def of_type(events, kind):
    return [event for event in events if event["type"] == kind]


def codes(events):
    return [event["code"] for event in of_type(events, "warning")]


def test_a_normal_card(watch):
    events = watch([{"temperature": 60 + number} for number in range(5)])
    readings = of_type(events, "sensors")
    assert [event["gpus"][0]["temperature_c"] for event in readings[:5]] == [60, 61, 62, 63, 64]
    assert all(len(event["gpus"]) == 1 for event in readings) and readings[0]["gpus"][0]["uuid"] == f"GPU-{UUID}"
    assert readings[0]["memory_total"] > readings[0]["memory_used"] > 0 and readings[0]["disk_free"] > 0
    assert codes(events) == [] and watch.newest.gpus[0].temperature_c == 64 and watch.lost == ""


def test_a_card_at_the_threshold_is_warned_of_once(watch):
    """Ninety degrees is where this card warns; it swings around that, and cools for good at last."""
    events = watch([*[{"temperature": degrees} for degrees in [85] + [89, 90, 91, 90] * 10], {"temperature": 86},
                    {"temperature": 90}])
    assert codes(events) == ["gpu_hot", "gpu_hot"]


def test_a_card_that_slows_down(watch, monkeypatch):
    monkeypatch.setattr(guard, "SECONDS", 0.02)
    events = watch([{"clock_reasons": 0x48, "temperature": 60}] * 60)
    assert codes(events) == ["gpu_slowed_by_heat"]
    assert of_type(events, "sensors")[0]["gpus"][0]["slowed_by"] == ["heat", "hardware protection"]


def test_a_lost_card_that_comes_back(watch):
    events = watch([{"temperature": 50}, {"every_query": "GPU_IS_LOST"}, {}, {"every_query": 0}, {}])
    assert codes(events) == ["gpu_lost", "gpu_back"]
    assert [event["reason"] for event in of_type(events, "sensors_unavailable")] == [nvml.LOST]


@pytest.mark.parametrize(("uuids", "lost"), [(None, ""), ([UUID], nvml.LOST)])
def test_a_lost_card_matters_to_the_run_that_computes_on_it(watch, uuids, lost):
    watch([{"temperature": 50}, {"every_query": "GPU_IS_LOST"}, {}, {}], uuids)
    assert watch.lost == lost


def test_a_reading_that_is_old_says_nothing(watch, monkeypatch):
    monkeypatch.setattr(sensors, "STALE_SECONDS", 0.0)
    watch([{"temperature": 50}])
    assert watch.newest is None


def test_sensors_that_fail_are_told_of_once_and_end_nothing(watch, monkeypatch):
    read, failures = MachineReader.read, iter(range(3))

    def fail_at_first(self):
        if next(failures, None) is not None:
            raise RuntimeError("a library's own trouble")
        return read(self)

    monkeypatch.setattr(MachineReader, "read", fail_at_first)
    events = watch([{"temperature": 50}, {}])
    assert codes(events) == ["sensors_failed"] and watch.newest.gpus[0].temperature_c == 50


def test_the_card_of_the_run_is_watched_and_named_where_there_are_several(watch, fake_nvml):
    fake_nvml.set(count=2)
    fake_nvml.set(card=1, uuid=f"GPU-{UUID[::-1]}", name="NVIDIA GeForce RTX 4090")
    moments = [{"1.temperature": 70, "temperature": 50}, {"1.every_query": "GPU_IS_LOST"}, {}, {}]
    events = watch(moments, [UUID[::-1], UUID])
    assert [gpu["temperature_c"] for gpu in of_type(events, "sensors")[0]["gpus"]] == [70, 50]
    assert of_type(events, "sensors")[0]["gpus"][0]["temperature_c"] == 70
    assert watch.lost == f"GPU 1 (RTX 4090): {nvml.LOST}"


def test_only_the_card_of_the_run_is_read(watch, fake_nvml):
    fake_nvml.set(count=2)
    fake_nvml.set(card=1, uuid=f"GPU-{UUID[::-1]}")
    events = watch([{"every_query": "GPU_IS_LOST", "1.every_query": 0, "1.temperature": 66}] * 3, [UUID[::-1]])
    assert codes(events) == [] and of_type(events, "sensors")[0]["gpus"][0]["temperature_c"] == 66


def test_without_a_library(watch, fake_nvml, monkeypatch):
    monkeypatch.setattr(fake_nvml, "play", lambda moments: fake_nvml.remove_driver())
    events = watch([{}, {}])
    assert [event["reason"] for event in of_type(events, "sensors_unavailable")] == [nvml.NO_DRIVER]
    assert of_type(events, "sensors")[0]["gpus"] == []
    assert codes(events) == []


@pytest.mark.parametrize(("stepped", "uuids", "ends"), [(False, [UUID], True), (True, [UUID], False),
                                                        (False, None, False)])
def test_a_run_that_makes_no_step_on_a_lost_card_is_ended(watch, monkeypatch, stepped, uuids, ends):
    ended = []
    monkeypatch.setattr(sensors, "HOPELESS_SECONDS", 0.0 if not stepped else 3600.0)
    monkeypatch.setattr(ending, "give_up", lambda job, error: ended.append(error))
    watch([{"temperature": 50}, {"every_query": "GPU_IS_LOST"}, {}, {}], uuids)
    assert bool(ended) == ends
    assert all(error.why == nvml.LOST and "Resume continues" in error.remedy for error in ended)


@pytest.fixture
def hanging(tmp_path, monkeypatch, fake_nvml):
    """Sensors whose driver doesn't return from a question until `hanging.let_go()`."""
    go = threading.Event()
    read = MachineReader.read
    monkeypatch.setattr(MachineReader, "read", lambda self: (go.wait(), read(self))[1])
    monkeypatch.setattr(sensors, "PERIOD_SECONDS", 0.002)
    monkeypatch.setattr(sensors, "STALE_SECONDS", 0.0)
    ended = []
    monkeypatch.setattr(ending, "give_up", lambda job, error: ended.append(error))
    made = Sensors(JobContext(tmp_path, {"kind": "train"}), [UUID])
    made.let_go, made.ended = go.set, ended
    yield made
    go.set()
    made.close()


def test_a_driver_that_does_not_answer_is_named_once(hanging, tmp_path):
    wait.until(lambda: codes(list(jobs.Job(tmp_path).events())), "a warning")
    assert hanging.newest is None and not hanging.ended
    hanging.let_go()
    wait.until(lambda: of_type(jobs.Job(tmp_path).events(), "sensors"), "a reading")
    hanging.close()
    events = list(jobs.Job(tmp_path).events())
    assert codes(events) == ["sensors_silent"] and not of_type(events, "suspended")


def test_a_run_that_hangs_in_such_a_driver_is_ended(hanging, monkeypatch):
    monkeypatch.setattr(sensors, "HUNG_SECONDS", 0.0)
    wait.until(lambda: hanging.ended, "the end")
    assert "The driver doesn't answer" in hanging.ended[0].why
