"""llama.cpp's devices."""

from slmstudio.worker.runtime import libraries, llama_devices


def test_the_processor_is_a_device_of_every_build():
    first = llama_devices.devices()[0]
    assert first.kind == "cpu" and first.total > 0
    assert llama_devices.load_backends() is llama_devices.load_backends()


def test_the_doctor_is_given_what_was_found():
    found = libraries.look("llama_cpp")
    assert found["error"] == "" and found["devices"][0]["kind"] == "cpu"
