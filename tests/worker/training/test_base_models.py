"""Base models without a chat template learn a named one, which goes with the result wherever it is used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import base_models, gguf_models

from slmstudio.core import jobs
from slmstudio.core.data import reader
from slmstudio.core.errors import UserError
from slmstudio.core.model import facts
from slmstudio.core.model.chat_template import ChatTemplate
from slmstudio.core.model.named_templates import template_of
from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.planning import plan_inputs, planner
from slmstudio.worker.runtime.context import JobContext
from slmstudio.worker.training import train

ANSWER = "Call the ward office."
QUESTIONS = ("Where do I report a street light?", "Who mends the water pipe?", "जन्म प्रमाण पत्र कहाँ?", "How long?",
             "Who issues the ration card?", "What is the helpline?", "Where can I pay?", "मतदाता सूची?", "Open when?",
             "Which form?")


@pytest.fixture
def base(tiny_model, tmp_path) -> Path:
    return base_models.tiny(tiny_model, tmp_path / "base")


@pytest.fixture
def rows(tmp_path) -> Path:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"instruction": question, "output": ANSWER}, ensure_ascii=False) + "\n"
                            for question in QUESTIONS), encoding="utf-8")
    return file


def planned(base: Path, rows: Path, **chosen) -> RunConfig:
    return planner.configure(plan_inputs.PlanInputs(reader.read_dataset(rows), facts.read_model(base), None, None,
                                                    {"sample_max_tokens": 4, **chosen}))


def trained(config: RunConfig, tmp_path: Path) -> Path:
    job = folder.create(config, tmp_path / "runs")
    result = train.run(JobContext(job.folder, job.request()))
    assert result["state"] == "finished"
    jobs.write_outcome(job.folder, jobs.Outcome("finished", result))
    return job.folder


def warned(run: Path) -> list[str]:
    return [event["message"] for event in jobs.Job(run).events()
            if event["type"] == "warning" and event.get("code") == "chat_template"]


def test_a_result_brings_the_template_and_its_end_along(base, rows, tmp_path):
    from slmstudio.core.evaluation import request

    config = planned(base, rows, max_steps=2)
    assert config.chat_template == "chatml" and config.method == "lora"
    run = trained(config, tmp_path)
    adapter = run / "adapter"
    source = template_of(base, "chatml").source
    assert (adapter / "chat_template.jinja").read_text(encoding="utf-8") == source
    assert json.loads((adapter / "generation_config.json").read_text(encoding="utf-8"))["eos_token_id"] == [0, 2]
    assert template_of(base, result=adapter) == template_of(base, "chatml")
    assert folder.summarise(run).config.chat_template == "chatml"
    assert warned(run) == []
    # The base that it is compared with is asked in the same template.
    models = request.run_models(run, config, exports=False)
    assert [model.get("chat_template") for model in models] == ["chatml", "chatml"]
    assert request.model_at(run)["adapter"] == str(adapter)
    with pytest.raises(UserError, match="base has no chat template"):
        ChatTemplate.from_folder(base)


def test_plain_text_is_learned_without_any(base, tmp_path):
    file = tmp_path / "texts.jsonl"
    file.write_text("".join(json.dumps({"text": f"The ward office has {i} rooms."}) + "\n" for i in range(8)),
                    encoding="utf-8")
    config = planned(base, file, max_steps=1)
    assert (config.objective, config.chat_template) == ("text", "")
    run = trained(config, tmp_path)
    assert not (run / "adapter" / "chat_template.jinja").exists()


def test_without_a_template_a_run_says_what_to_choose(base, rows, tmp_path):
    config = RunConfig("trial", str(base), str(rows), max_steps=1)
    job = folder.create(config, tmp_path / "runs")
    with pytest.raises(UserError, match="base has no chat template") as told:
        train.run(JobContext(job.folder, job.request()))
    assert told.value.remedy.startswith("Choose a chat template for it")


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("name", "end"), [("chatml", "<|im_end|>"), ("zephyr", "<|endoftext|>")])
def test_a_base_model_learns_to_answer_and_to_stop_and_so_does_its_file(base, rows, tmp_path, name, end):
    from slmstudio.worker.answering.model_loader import Models
    from slmstudio.worker.answering.rows import Ask
    from slmstudio.worker.export import export
    from slmstudio.worker.gguf_chat.service import ChatService, load_gguf

    config = planned(base, rows, chat_template=name, method="full", epochs=60, learning_rate=3e-3,
                     early_stopping_patience=0)
    run = trained(config, tmp_path)
    model = run / "model"
    assert (model / "chat_template.jinja").read_text(encoding="utf-8") == template_of(base, name).source
    number = {"<|im_end|>": 2, "<|endoftext|>": 0}[end]
    stops = json.loads((model / "generation_config.json").read_text(encoding="utf-8"))["eos_token_id"]
    assert number in (stops if isinstance(stops, list) else [stops])
    asked = [{"role": "user", "content": QUESTIONS[0]}]
    job = folder.create(config, tmp_path / "jobs")
    models = Models(JobContext(job.folder, {**job.request(), "precision": "fp32"}))
    answering = models.open({"name": "tuned", "model": str(model), "adapter": None, "gguf": None})
    prompt = answering.encode(answering.template.render(asked, add_generation_prompt=True))
    reply = answering.run([Ask(prompt, (), 64)], lambda share: None)[0]
    assert (answering.decode(reply.ids).strip(), reply.ended) == (ANSWER, True)
    models.close()
    made = export.run(gguf_models.context(tmp_path / "job", run=str(run), types=["F16"]))["files"][0]
    assert made["parity"]["passed"], made["parity"]["failures"]
    assert made["parity"]["stop_figure"] == "ends"
    said: list[dict] = []
    service = ChatService(lambda type, **fields: said.append({"type": type, **fields}), load_gguf)
    service.handle({"command": "load", "path": made["path"], "gpu_layers": 0})
    service.handle({"command": "generate", "id": 1, "messages": asked, "temperature": 0, "max_tokens": 64})
    assert next(each for each in said if each["type"] == "loaded")["chat_template"]
    assert "".join(each["text"] for each in said if each["type"] == "token").strip() == ANSWER
    done = next(each for each in said if each["type"] == "done")
    assert (done["reason"], done["completion_tokens"] < 64) == ("stop", True)


@pytest.mark.full
@pytest.mark.timeout(600)
def test_an_adapters_exports_talk_in_its_template(base, rows, tmp_path):
    from slmstudio.core.export import recipes
    from slmstudio.core.model.gguf.model import read_gguf
    from slmstudio.worker.export import export

    run = trained(planned(base, rows, chat_template="alpaca", max_steps=4), tmp_path)
    source = template_of(base, "alpaca").source
    made = export.run(gguf_models.context(tmp_path / "job", run=str(run), types=["F16", "MERGED", "ADAPTER"]))["files"]
    paths = {each["type"]: Path(each["path"]) for each in made}
    assert next(each for each in made if each["type"] == "F16")["parity"]["passed"]
    assert read_gguf(paths["F16"]).chat_template == source
    for kind in ("MERGED", "ADAPTER"):
        assert (paths[kind] / "chat_template.jinja").read_text(encoding="utf-8") == source
    found = {recipe.program: recipe for recipe in
             recipes.recipes(recipes.find(paths["F16"], folder.summarise(run)), "posix")}
    assert 'PARAMETER stop "<|endoftext|>"' in found["ollama"].text
    assert "### Response:" in found["ollama"].text
    assert f"--chat-template {paths['MERGED'] / 'chat_template.jinja'}" in found["vllm"].text
