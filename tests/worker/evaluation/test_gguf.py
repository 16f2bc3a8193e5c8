"""GGUF files are evaluated as model folders are, and give nearly the same figures."""

from __future__ import annotations

import pytest
import torch
from support import gguf_models, mmlu_folder
from support.evaluation_jobs import ran
from worker.evaluation.test_evaluate import items, lines, same

from slmstudio.worker.answering import model_loader
from slmstudio.worker.answering.llama_model import LlamaModel
from slmstudio.worker.answering.rows import prepare
from slmstudio.worker.answering.torch_model import TorchModel

pytestmark = pytest.mark.timeout(900)
MOST = 24


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The tiny model's folder, and its GGUF in F32."""
    folder, base = tmp_path_factory.mktemp("export"), gguf_models.tiny()
    return base, gguf_models.convert(base, folder, "F32")["F32"].rename(folder / "tiny-F32.gguf")


def test_rows_are_independent_and_equal_to_the_model_folder(exported):
    base, gguf = exported
    model = LlamaModel(gguf, 2**28)
    try:
        rows = [prepare(item, model, MOST) for item in items()]
        together = lines(model, rows, 8)
        same(together, lines(model, rows, 1))
        folder = TorchModel(model_loader.load(base, torch.float32), base, 2**28)
        others = lines(folder, [prepare(item, folder, MOST) for item in items()], 8)
        for number, line in together.items():
            assert line["reference_tokens"] == others[number]["reference_tokens"]
            assert line["reference_nats"] == pytest.approx(others[number]["reference_nats"], rel=2e-3)
        assert sum(line["answer"] == others[number]["answer"] for number, line in together.items()) >= len(rows) - 1
    finally:
        model.close()


@pytest.mark.full
def test_a_benchmark_of_a_file_equals_that_of_the_folder(exported, tmp_path):
    base, gguf = exported
    data = mmlu_folder.write(tmp_path / "mmlu", 4)
    (_, of_folder), (_, of_file) = (ran(tmp_path / name, "mmlu", data, place, shots=1)
                                    for name, place in (("folder", base), ("file", gguf)))
    for task, rows in of_folder["samples"].items():
        for mine, other in zip(of_file["samples"][task], rows, strict=True):
            assert [float(choice[0]) for choice in mine["answers"]] == pytest.approx(
                [float(choice[0]) for choice in other["answers"]], abs=0.02)
