"""The plan's fields: one choice of a method, only what applies, and the code of a plan."""

from __future__ import annotations

import ast

import pytest
from PySide6.QtCore import Qt, QTime
from PySide6.QtWidgets import QCheckBox, QFileDialog, QLineEdit, QPlainTextEdit, QWidget
from support import base_models, training_window
from support.tiers import first_fast
from support.training_window import button, choose, unfold, wait_for_plan
from support.window import press, show_widget

from slmstudio.core.data import reader
from slmstudio.core.jobs.job import Job
from slmstudio.core.model import facts
from slmstudio.core.run import config_file
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.rows import saving_rows
from slmstudio.core.run.run_fields import VARIANTS
from slmstudio.gui.common.widgets.figures import MeaningButton
from slmstudio.gui.training.plan_panel import PlanPanel
from slmstudio.gui.training.planning import Planning

tab, planned, run = training_window.tab, training_window.planned, training_window.run


@pytest.fixture
def panel(qtbot, session) -> PlanPanel:
    return show_widget(qtbot, PlanPanel(Planning(session)))


def config(**values) -> RunConfig:
    return RunConfig(**{"name": "n", "model": "m", "train_file": "t", **values})


def shown(panel: PlanPanel) -> set[str]:
    return {name for name, row in panel.rows.items() if not row.isHidden()}


@pytest.mark.parametrize(("key", "fields"), first_fast([
    ("rslora", {"method": "lora", "use_rslora": True}), ("full", {"method": "full"}), ("lora", {"method": "lora"}),
    ("qlora", {"method": "qlora"}), ("dora", {"method": "lora", "use_dora": True}),
    ("scratch", {"method": "scratch"})], 3))
def test_one_choice_of_a_method_stands_for_its_fields(panel, key, fields):
    panel.planning.decide("method", "dora")  # what was chosen before leaves nothing behind
    panel.planning.decide("method", key)
    assert panel.planning.overrides == fields
    panel.show_config(config(**fields))
    assert panel.rows["method"].editor.currentData() == key
    panel.planning.propose("method")
    assert not panel.planning.overrides


def test_a_combination_without_a_name_is_shown_and_goes_away(panel):
    panel.show_config(config(method="qlora", use_dora=True))
    assert panel.rows["method"].editor.currentText() == "QLoRA (4-bit) + DoRA"
    panel.show_config(config())
    assert panel.rows["method"].editor.currentText() == "LoRA"
    assert panel.rows["method"].editor.count() == len(VARIANTS)


def test_fields_are_found_by_name_alias_label_and_help(qtbot, panel):
    panel.show_config(config())
    for text, found in (("weight_decay", "weight_decay"), ("LR", "learning_rate"), ("Warm-up,", "warmup_fraction"),
                        ("adamw towards zero", "weight_decay"), ("beta", "")):
        panel.search.setText(text)
        assert (found in shown(panel)) if found else not shown(panel), text
    panel.search.setText("weight_decay")
    assert [fold.text() for fold in panel.folds if fold.isVisible()] == ["Steps and rate"]
    panel.search.clear()
    assert shown(panel) == {"method", "lora_rank", "max_length"} and all(fold.isVisible() for fold in panel.folds)


def test_what_was_changed_is_counted_and_taken_back(qtbot, planned):
    planning, badge = planned.planning, planned.plan.badge
    assert badge.text() == "all as proposed" and not button(planned, "plan_reset").isVisible()
    choose(planned, "method", "dora")
    wait_for_plan(qtbot, planned)
    planning.decide("epochs", "7")
    wait_for_plan(qtbot, planned)
    assert badge.text() == "2 changed"
    planned.plan.search.clearFocus()
    planned.setFocus()
    qtbot.keyClick(planned, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    wait_for_plan(qtbot, planned)
    assert planning.config.use_dora and planning.config.epochs != 7 and badge.text() == "1 changed"
    qtbot.mouseClick(planned.plan.reset, Qt.MouseButton.LeftButton)
    wait_for_plan(qtbot, planned)
    assert not planning.config.use_dora and badge.text() == "all as proposed"
    planning.undo()
    wait_for_plan(qtbot, planned)
    assert planning.config.use_dora, "Reset is taken back, too"


@pytest.mark.parametrize(("values", "there", "gone"), [
    ({}, {"lora_rank", "use_dora", "completion_only_loss", "neftune_noise_alpha", "packing", "start_from"},
     {"beta", "scratch_size"}),
    ({"method": "full"}, {"start_from"}, {"lora_rank", "lora_alpha", "target_modules", "use_dora", "use_rslora"}),
    ({"method": "scratch", "objective": "text"}, {"scratch_size"},
     {"lora_rank", "start_from", "completion_only_loss", "neftune_noise_alpha"}),
    ({"objective": "dpo"}, {"beta", "lora_rank"}, {"packing", "completion_only_loss"}),
])
def test_fields_that_do_not_apply_are_hidden(panel, values, there, gone):
    unfold(panel)
    panel.show_config(config(**values))
    assert there <= shown(panel) and not gone & shown(panel)


def test_what_is_not_folded_is_short_and_offers_an_objective_only_where_there_is_a_choice(panel):
    def offer(objectives: tuple[str, ...], proposed: str) -> None:
        panel.planning.objectives, panel.planning.config = objectives, config(objective=proposed)
        panel.planning.planned.emit()

    offer(("text",), "text")
    assert shown(panel) == {"method", "lora_rank", "max_length"}
    offer(("dpo", "orpo", "sft"), "dpo")
    box = panel.rows["objective"].editor
    assert "objective" in shown(panel) and [box.itemData(i) for i in range(box.count())] == ["dpo", "orpo", "sft"]


def test_a_problem_of_a_hidden_field_is_shown(panel):
    from slmstudio.core.errors import Problem

    panel.show_config(config())
    assert "weight_decay" not in shown(panel)
    panel.planning.refused.emit([Problem("is wrong.", field="weight_decay")])
    assert panel.rows["weight_decay"].problem.isVisible()


def test_every_control_is_explained(panel, unexplained):
    unfold(panel)
    panel.show_config(config(method="qlora", objective="dpo"))
    assert not unexplained(panel)
    assert all(row.editor.accessibleName() and row.toolTip() for row in panel.rows.values())


def test_a_field_tells_what_its_word_means(panel):
    panel.show_config(config())
    told = panel.findChild(MeaningButton, "meaning_rank")
    assert told.isVisible() and told.text_shown().startswith("Rank: How many directions an adapter has")
    panel.show_config(config(method="full"))
    assert not told.isVisible()


def test_the_objective_of_chat_data_can_be_changed(qtbot, planned):
    assert planned.plan.rows["objective"].isVisible() and planned.planning.config.objective == "sft"
    choose(planned, "objective", "text")
    wait_for_plan(qtbot, planned)
    assert planned.planning.config.objective == "text"
    choose(planned, "method", "dora")
    wait_for_plan(qtbot, planned)
    assert planned.planning.config.use_dora and button(planned, "reset_method").isVisible()
    choose(planned, "method", "full")
    wait_for_plan(qtbot, planned)
    assert planned.planning.config.method == "full" and not planned.planning.config.use_dora


def test_questions_are_typed_a_line_each(qtbot, planned):
    unfold(planned.plan)
    editor = planned.plan.findChild(QPlainTextEdit, "field_sample_prompts")
    editor.setFocus()
    qtbot.keyClicks(editor, "Which form, and where?")
    qtbot.keyClick(editor, Qt.Key.Key_Return)
    editor.insertPlainText("कौन सा फॉर्म?")
    planned.plan.findChild(QLineEdit, "field_name").setFocus()
    qtbot.waitUntil(lambda: bool(planned.planning.config.sample_prompts))
    assert planned.planning.config.sample_prompts == ["Which form, and where?", "कौन सा फॉर्म?"]
    assert editor.toPlainText() == "Which form, and where?\nकौन सा फॉर्म?"


def test_what_was_said_of_the_files_is_in_the_plan(qtbot, planned, session, tmp_path):
    """The data of the run and of its evaluation are read as the person saw them in the Data tab."""
    for name in ("train", "test"):
        rows = "".join(f"{name} why {n},because {n},text {n}\n" for n in range(12))
        (tmp_path / f"{name}.csv").write_text("Fld 1,Fld-2,xx\n" + rows, encoding="utf-8")
    train = reader.read_dataset(tmp_path / "train.csv", columns={"instruction": "Fld 1", "output": "Fld-2"})
    test = reader.read_dataset(tmp_path / "test.csv", columns={"instruction": "Fld 1", "output": "xx"})
    with qtbot.waitSignal(planned.planning.planned):
        session.set_dataset(train, test)
    config = planned.planning.config
    assert config.train_map == "instruction=Fld 1,output=Fld-2" and config.eval_map == "instruction=Fld 1,output=xx"
    assert config.reasons["eval_map"]
    found = saving_rows.read(config)
    assert found.train == train.records and found.evaluation == test.records
    with qtbot.waitSignal(planned.planning.planned):  # the same file, read in another way
        session.set_dataset(reader.read_dataset(train.path, columns={"text": "xx"}))
    assert planned.planning.config.train_map == "text=xx" and planned.planning.config.objective == "text"
    assert planned.planning.config.eval_map is None


def test_what_was_decided_for_other_data_is_decided_again(qtbot, planned, session, tmp_path):
    for name, value in (("epochs", "7"), ("lora_rank", "8"), ("train_hours", "22:00-06:00")):
        planned.planning.decide(name, value)
    with qtbot.waitSignal(planned.planning.planned):
        session.set_dataset(session.dataset, None, 0.2)
    assert planned.planning.config.epochs == 7
    other = tmp_path / "other.jsonl"
    other.write_bytes(session.dataset.path.read_bytes())
    with qtbot.waitSignal(planned.planning.planned):
        session.set_dataset(reader.read_dataset(other))
    assert set(planned.planning.overrides) == {"lora_rank", "train_hours"} and planned.planning.config.epochs != 7


def test_another_tab_may_want_a_value_and_leave_it_to_the_plan(planned, session):
    session.field_wanted.emit("max_length", 128)
    assert planned.planning.overrides == {"max_length": 128}
    session.field_wanted.emit("max_length", None)
    assert planned.planning.overrides == {}


def test_a_switch_is_an_override(qtbot, planned):
    unfold(planned.plan)
    box = planned.plan.findChild(QCheckBox, "field_tensorboard")
    box.click()
    wait_for_plan(qtbot, planned)
    assert planned.planning.config.tensorboard


def test_start_takes_what_was_typed_just_before(qtbot, planned, session, play):
    play("start load plan:4 steps:4 finish")
    started: list[Job] = []
    session.run_started.connect(started.append)
    planned.plan.search.setText("epochs")
    editor = planned.plan.findChild(QLineEdit, "field_epochs")
    editor.setFocus()
    editor.selectAll()
    qtbot.keyClicks(editor, "7")
    press(qtbot, planned, "start")  # the click takes the focus away: the plan is being made anew
    qtbot.waitUntil(lambda: bool(started))
    assert started[0].request()["epochs"] == 7
    qtbot.waitUntil(lambda: not planned.followed.is_running())


def test_a_refused_plan_is_not_started_later(qtbot, planned, session):
    started: list[Job] = []
    session.run_started.connect(started.append)
    planned.planning.decide("learning_rate", "3e-5")
    press(qtbot, planned, "start")
    planned.planning.decide("learning_rate", "7")
    planned.planning.decide("learning_rate", "3e-5")
    wait_for_plan(qtbot, planned)
    assert not started and button(planned, "start").isEnabled()


def test_the_plan_as_code(qtbot, planned, tmp_path):
    press(qtbot, planned, "show_code")
    dialog = planned.window().findChild(QFileDialog)
    assert dialog.isVisible() and dialog.acceptMode() == QFileDialog.AcceptMode.AcceptSave
    out = tmp_path / "train-नमूना.py"
    dialog.fileSelected.emit(str(out))
    dialog.reject()
    note: QWidget = planned.plan.buttons.note
    qtbot.waitUntil(lambda: "Saved as train-नमूना.py" in note.text())
    ast.parse(out.read_text(encoding="utf-8"))


def test_a_plan_that_is_saved_can_be_trained_from(qtbot, planned, tmp_path):
    press(qtbot, planned, "save_plan")
    dialog = planned.window().findChild(QFileDialog)
    out = tmp_path / "plan.json"
    dialog.fileSelected.emit(str(out))
    dialog.reject()
    qtbot.waitUntil(out.exists)
    assert config_file.load(out) == planned.planning.config


def test_code_that_cannot_be_written_is_said_in_the_tab(qtbot, planned, tmp_path):
    (tmp_path / "file").write_text("")
    planned.next.write_code(planned.planning.config, tmp_path / "file" / "train.py")
    qtbot.waitUntil(lambda: planned.banner.isVisible() or "Saved" in planned.plan.buttons.note.text())
    assert planned.banner.isVisible() and not planned.plan.buttons.note.text()


def test_the_template_chosen_for_a_base_model_is_in_the_plan_until_the_plan_chooses_another(
        qtbot, planned, session, tiny_model, tmp_path):
    base = base_models.tiny(tiny_model, tmp_path / "base")
    with qtbot.waitSignal(planned.planning.planned):
        session.set_model(facts.read_model(base))
    assert planned.planning.config.chat_template == "chatml"
    with qtbot.waitSignal(planned.planning.planned):
        session.choose_template(base, "vicuna")
    config = planned.planning.config
    assert config.chat_template == "vicuna"
    assert config.reasons["chat_template"].startswith("Chosen with the model. ")
    unfold(planned.plan)
    choose(planned, "chat_template", "alpaca")
    wait_for_plan(qtbot, planned)
    assert planned.planning.config.chat_template == "alpaca"
    assert "Chosen with the model" not in planned.planning.config.reasons["chat_template"]


def test_hours_are_ticked_and_chosen(qtbot, panel):
    unfold(panel)
    panel.show_config(config())
    hours = panel.rows["train_hours"].editor
    assert not hours.check.isChecked() and not hours.start.isEnabled()
    hours.check.click()
    assert panel.planning.overrides == {"train_hours": "22:00-06:00"}
    panel.show_config(config(train_hours="22:00-06:00"))
    hours.start.setTime(QTime(21, 30))
    assert panel.planning.overrides == {"train_hours": "21:30-06:00"}
    assert button(panel, "reset_train_hours").isVisibleTo(panel)
    panel.planning.set_active(False)
    assert not hours.check.isEnabled() and not hours.start.isEnabled()
    panel.planning.set_active(True)
    panel.show_config(config(train_hours="21:30-06:00"))
    hours.check.click()
    assert panel.planning.overrides == {"train_hours": ""}
    panel.show_config(config(train_hours=None))
    assert hours.value() == "" and hours.start.time() == QTime(21, 30), "what was typed is kept for the next tick"
