"""The fake card changes over time as a test says."""

from slmstudio.core.hardware.nvml import GpuMonitor, open_all


def test_a_script_gives_one_moment_a_reading_and_stays_at_the_last(fake_nvml):
    monitor, _ = GpuMonitor.open()
    with monitor:
        fake_nvml.play([{"temperature": 60, "power": 100_000}, {"temperature": 70}, {"every_query": "GPU_IS_LOST"},
                        {"every_query": 0, "temperature": 50}])
        seen = [monitor.read() for _ in range(5)]
        assert [reading.temperature_c for reading in seen] == [60, 70, None, 50, 50]
        assert [reading.lost for reading in seen] == [False, False, True, False, False]
        assert [reading.power_w for reading in seen] == [100, 100, None, 100, 100]
        assert seen[0].memory_total == 12 * 1024**3
        fake_nvml.play([{"temperature": 40}, {"temperature": 41}])
        assert [monitor.read().temperature_c for _ in range(2)] == [40, 41]


def test_a_script_may_speak_of_one_card(fake_nvml):
    fake_nvml.set(count=2)
    cards, _ = open_all()
    fake_nvml.play([{"1.temperature": 70}, {"1.temperature": 80, "temperature": 30}])
    assert [[card.read().temperature_c for card in cards] for _ in range(2)] == [[46, 70], [30, 80]]
    for card in cards:
        card.close()


def test_a_script_by_the_clock_goes_on_by_itself(fake_nvml):
    monitor, _ = GpuMonitor.open()
    with monitor:
        fake_nvml.play([{"temperature": 60}, {"temperature": 70}], seconds=3600)
        assert [monitor.read().temperature_c for _ in range(3)] == [60, 60, 60]
        fake_nvml.play([{"temperature": 60}, {"temperature": 70}], seconds=0.001)
        while (seen := monitor.read().temperature_c) == 60:
            pass
        assert seen == 70
