"""Using an export elsewhere, with the real server on the starter model."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QLabel, QLineEdit, QPushButton
from support import model_files
from support import starter as starter_model
from support.window import end_threads, press, texts

from slmstudio.core import files, jobs
from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig
from slmstudio.gui.app.frame import StatusBar
from slmstudio.gui.common import tasks
from slmstudio.gui.export.server_page import FAILED, HIDDEN_KEY, PYTHON, SERVING, STARTING, STOPPED
from slmstudio.gui.results.tab import ResultsTab


@pytest.fixture(scope="session")
def starter() -> Path:
    return starter_model.gguf()


@pytest.fixture
def exported(studio_home, tmp_path, starter):
    """`exported("name", "Q8_0")`: a finished run with an adapter and these exports, which are the starter model."""
    def make(name: str, *types: str) -> Path:
        base = model_files.write_model(tmp_path / "base")
        job = folder.create(RunConfig(name=name, model=str(base), train_file="rows.jsonl"))
        files.write_atomically(job.folder / "adapter" / "adapter_config.json", files.dump_pretty({"r": 16}))
        exports = job.folder / folder.EXPORTS
        exports.mkdir()
        for kind in types:
            shutil.copy(starter, exports / f"{name}-{kind}.gguf")
        jobs.write_outcome(job.folder, jobs.Outcome("finished"))
        return exports

    return make


@pytest.fixture
def tab(qtbot, session, studio_home, monkeypatch):
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    made = ResultsTab(session)
    qtbot.addWidget(made)
    made.resize(1280, 640)
    yield made
    made.details.serve.server.stop()
    end_threads()


@pytest.fixture
def panel(qtbot, tab, exported):
    """The panel, open on a run with one export."""
    exported("desk", "Q8_0")
    return open_panel(qtbot, tab)


def open_panel(qtbot, tab):
    tab.show()
    tab.refresh()
    qtbot.waitUntil(lambda: tab.details.buttons.serve.isEnabled() and not tasks.is_busy(tab))
    press(qtbot, tab, "results_serve")
    panel = tab.details.serve
    qtbot.waitUntil(lambda: not tasks.is_busy(panel))
    return panel


def start(qtbot, panel, port: int = 0) -> None:
    panel.server_page.port.setValue(port or free_port())
    press(qtbot, panel, "server_start")
    assert panel.server.state == STARTING and panel.server_page.strip.isVisible()
    qtbot.waitUntil(lambda: panel.server.state == SERVING)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as trial:
        return trial.getsockname()[1]


def server_process() -> psutil.Process:
    """The process that serves."""
    alive = [each for each in psutil.Process().children() if each.status() != psutil.STATUS_ZOMBIE]
    [found] = [each for each in alive if "serve" in each.cmdline()]
    return found


def ask(serving, key: str | None = None) -> dict:
    body = {"model": serving.model, "max_tokens": 2, "messages": [{"role": "user", "content": "नमस्ते"}]}
    request = urllib.request.Request(f"{serving.url}/chat/completions", json.dumps(body).encode(),
                                     {"Authorization": f"Bearer {key or serving.key}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def test_without_an_export_there_is_nothing_to_use(qtbot, tab, exported) -> None:
    exported("empty")
    tab.show()
    button = tab.findChild(QPushButton, "results_serve")
    qtbot.waitUntil(lambda: "Export" in button.toolTip())
    assert not button.isEnabled() and tab.details.serve.isHidden()


def hides_its_key(qtbot, panel, studio_home) -> None:
    """Until it is wanted."""
    page, key = panel.server_page, panel.server.serving.key
    assert page.key.field.echoMode() == QLineEdit.EchoMode.Password
    assert HIDDEN_KEY in page.snippet.field.toPlainText() and key not in page.snippet.field.toPlainText()
    qtbot.mouseClick(page.snippet.copy, Qt.MouseButton.LeftButton)
    assert key in QGuiApplication.clipboard().text() and "/chat/completions" in QGuiApplication.clipboard().text()
    press(qtbot, panel, "copy_key")
    assert QGuiApplication.clipboard().text() == key == (studio_home / "server.key").read_text().strip()
    press(qtbot, panel, "reveal_key")
    assert page.key.field.displayText() == key and key in page.snippet.field.toPlainText()
    page.language.set_current(PYTHON)
    assert "from openai import OpenAI" in page.snippet.field.toPlainText()
    compile(page.snippet.field.toPlainText(), "snippet", "exec")


def test_the_server_is_started_used_and_stopped(qtbot, tab, panel, session, studio_home) -> None:
    status = StatusBar(session)
    qtbot.addWidget(status)
    page = panel.server_page
    assert page.start_button.isVisible() and not page.chip.isVisible() and status.server.isHidden()
    start(qtbot, panel)
    serving = panel.server.serving
    assert page.address.field.text() == serving.url == f"http://127.0.0.1:{page.port.value()}/v1"
    assert page.model.field.text() == "desk-Q8_0" and not page.start_button.isVisible()
    assert status.server.text() == f"Serving desk-Q8_0 · 127.0.0.1:{page.port.value()}/v1"
    assert not status.server.isHidden()
    assert ask(serving)["usage"]["completion_tokens"] == 2
    qtbot.waitUntil(lambda: page.figures.text().startswith("1 request served"))
    with pytest.raises(urllib.error.HTTPError):
        ask(serving, "wrong")
    qtbot.waitUntil(page.last_error.isVisible)
    assert "key is wrong" in page.last_error.text()
    hides_its_key(qtbot, panel, studio_home)
    process = server_process()
    press(qtbot, panel, "server_stop")
    qtbot.waitUntil(lambda: panel.server.state == STOPPED and not panel.server.is_busy())
    assert page.start_button.isEnabled() and status.server.isHidden() and not process.is_running()


def test_a_server_that_is_killed_is_said_and_started_again_and_ends_with_the_window(qtbot, panel, session) -> None:
    start(qtbot, panel)
    server_process().kill()
    qtbot.waitUntil(lambda: panel.server.state == FAILED and not panel.server.is_busy())
    page = panel.server_page
    assert page.banner.isVisible() and "killed" in texts(page.banner)
    assert session.server == "" and page.start_button.isEnabled()
    press(qtbot, panel, "server_start")
    qtbot.waitUntil(lambda: panel.server.state == SERVING)
    assert not page.banner.isVisible() and ask(panel.server.serving)["usage"]["completion_tokens"] == 2
    process = server_process()
    end_threads()  # as the program does when its last window was closed
    assert psutil.wait_procs([process], timeout=60)[1] == []


def test_a_port_in_use_is_said_and_a_free_one_offered(qtbot, panel) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        panel.server_page.port.setValue(port)
        press(qtbot, panel, "server_start")
        qtbot.waitUntil(lambda: panel.server.state == FAILED and not panel.server.is_busy())
        offered = panel.server_page.port.value()
        assert offered != port and str(offered) in texts(panel.server_page.banner)
        press(qtbot, panel, "server_start")
        qtbot.waitUntil(lambda: panel.server.state == SERVING)


def test_a_file_that_cannot_be_served_says_why(qtbot, tab, exported) -> None:
    exports = exported("desk", "Q8_0")
    (exports / "desk-Q8_0.gguf").write_bytes((exports / "desk-Q8_0.gguf").read_bytes()[:5_000_000])
    panel = open_panel(qtbot, tab)
    assert panel.banner.isVisible() and "truncated" in texts(panel.banner)
    press(qtbot, panel, "server_start")
    qtbot.waitUntil(lambda: panel.server.state == FAILED)
    assert panel.server_page.banner.isVisible()


def test_a_start_is_cancelled(qtbot, panel) -> None:
    press(qtbot, panel, "server_start")
    qtbot.mouseClick(panel.server_page.strip.cancel, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: panel.server.state == STOPPED and not panel.server.is_busy())
    assert panel.server_page.start_button.isEnabled() and not panel.server_page.banner.isVisible()


def test_it_serves_on_while_another_file_is_marked(qtbot, tab, exported) -> None:
    exported("desk", "Q8_0", "F16")
    panel = open_panel(qtbot, tab)
    start(qtbot, panel)
    served = panel.server.serving.model
    other = 1 - [export.path.stem for export in tab.details.exports.exports].index(served)
    tab.details.exports.selectRow(other)
    qtbot.waitUntil(lambda: not tasks.is_busy(panel))
    assert panel.server.serving.model == served == panel.server_page.model.field.text()
    press(qtbot, panel, "serve_close")
    assert panel.isHidden() and panel.server.state == SERVING and tab.details.buttons.serve.isVisible()


def select(qtbot, tab, name: str) -> None:
    tab.table.select({run.folder for run in tab.table.runs.runs if run.config.name == name})
    tab.table.chosen.emit(tab.table.selected())
    qtbot.waitUntil(lambda: tab.details.title.text() == name and not tasks.is_busy(tab))


@pytest.fixture
def two_runs(qtbot, tab, exported) -> tuple[str, str]:
    """The panel is open on the first of them."""
    for name in ("desk", "other"):
        exported(name, "Q8_0")
    open_panel(qtbot, tab)
    return ("desk", "other") if tab.details.title.text() == "desk" else ("other", "desk")


def test_the_panel_of_another_run_does_not_stay(qtbot, tab, two_runs) -> None:
    panel, hidden = tab.details.serve, two_runs[1]
    select(qtbot, tab, hidden)
    assert panel.isHidden() and tab.details.buttons.serve.isVisible(), "nobody asked for it here"
    press(qtbot, tab, "results_serve")
    assert f"{hidden}-Q8_0" in panel.server_page.start_button.toolTip()


@pytest.mark.full
def test_the_server_of_another_run_is_named_and_stopped_from_here(qtbot, tab, two_runs) -> None:
    panel, (shown, hidden) = tab.details.serve, two_runs
    page = panel.server_page
    start(qtbot, panel)
    select(qtbot, tab, hidden)
    assert panel.isHidden() and panel.server.state == SERVING
    press(qtbot, tab, "results_serve")
    assert not page.chip.isVisible() and not page.start_button.isVisible()
    assert page.elsewhere.isVisible() and page.elsewhere.text().startswith(f"A file of another run, {shown}-Q8_0,")
    select(qtbot, tab, shown)
    assert page.chip.isVisible() and not page.elsewhere.isVisible(), "the run that is served shows its server"
    select(qtbot, tab, hidden)
    press(qtbot, tab, "results_serve")
    press(qtbot, panel, "server_stop_other")
    qtbot.waitUntil(lambda: panel.server.state == STOPPED and not panel.server.is_busy())
    assert page.start_button.isVisible() and page.start_button.isEnabled() and not page.elsewhere.isVisible()


def test_recipes_for_the_marked_file(qtbot, panel) -> None:
    shown = {"ollama": ("FROM ", "PARAMETER stop"), "llama.cpp": ("--api-key-file", "desk-Q8_0.gguf"),
             "vllm": ("--max-lora-rank 16", "--lora-modules desk="), "lm-studio": ("models", "desk-Q8_0.gguf")}
    for number, (program, words) in enumerate(shown.items(), 1):
        panel.choice.set_current(number)
        page = panel.recipe_pages[program]
        assert [each.isVisible() for each in panel.pages].count(True) == 1 and page.isVisible()
        assert all(word in page.text.field.toPlainText() for word in words)
        field = page.text.field
        if program != "ollama":  # it is long; up to nine lines are seen whole, however they break
            qtbot.waitUntil(lambda field=field: field.document().size().height() > 9
                            or not field.verticalScrollBar().maximum())
        qtbot.mouseClick(page.text.copy, Qt.MouseButton.LeftButton)
        assert QGuiApplication.clipboard().text() == page.text.field.toPlainText()


@pytest.mark.skipif(os.name == "nt", reason="the fake is a shell script")
@pytest.mark.parametrize(("code", "words"), [(0, "ollama run desk:q8_0"), (1, "no room here")])
def test_create_in_ollama(qtbot, tab, panel, tmp_path, monkeypatch, code, words) -> None:
    page = panel.ollama
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    panel.choice.set_current(1)
    page.show_recipe(tab.details.exports.selected().path, page.recipe)
    assert not page.create.isEnabled() and page.command.isVisible()
    press(qtbot, panel, "ollama_save")
    qtbot.waitUntil(page.done.isVisible)
    saved = Path(page.command.field.toPlainText().split()[-1])
    assert saved.read_text("utf-8") == page.text.field.toPlainText() and saved.name in page.done.text()
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "ollama"
    script.write_text(f"#!{sys.executable}\nimport sys\nprint('Error: no room here')\n"
                      f"assert sys.argv[1:3] == ['create', 'desk:q8_0']\nsys.exit({code})\n")
    script.chmod(0o755)
    page.show_recipe(tab.details.exports.selected().path, page.recipe)
    assert page.create.isEnabled() and not page.command.isVisible()
    qtbot.mouseClick(page.create, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not page.is_at_work())
    label = page.done if code == 0 else page.banner
    assert label.isVisible() and words in texts(page) and page.create.isEnabled()


@pytest.fixture
def my_home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "me")
    return tmp_path / "me"


def test_put_into_lm_studio(qtbot, my_home, panel) -> None:
    panel.choice.set_current(4)
    page = panel.lm_studio
    place = my_home / ".lmstudio" / "models" / "slm-studio" / "desk" / "desk-Q8_0.gguf"
    assert page.text.field.toPlainText() == str(place) and not page.open.isEnabled()
    press(qtbot, panel, "lm_studio_put")
    qtbot.waitUntil(page.done.isVisible)
    assert place.stat().st_nlink == 2 and "without extra disk space" in page.done.text() and page.open.isEnabled()


def test_everything_is_explained(qtbot, panel, unexplained) -> None:
    assert unexplained(panel) == []
    assert all(label.textFormat() == Qt.TextFormat.PlainText for label in panel.findChildren(QLabel))
