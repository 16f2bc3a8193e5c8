"""A pane's real worker, which may read what its model's folder holds and nothing of another one."""

from __future__ import annotations

from pathlib import Path

from support.damaged_gguf import DAMAGES, sound
from support.window import end_threads

from slmstudio.gui.chat.pane import ChatPane


def test_models_of_several_folders_one_after_the_other(qtbot, studio_home, tmp_path: Path) -> None:
    files = [tmp_path / name / f"{name}.gguf" for name in ("first", "second", "damaged", "third")]
    for path in files:
        path.parent.mkdir()
        path.write_bytes(DAMAGES["zero layers"][0]() if path.stem == "damaged" else sound().bytes())
    pane = ChatPane()
    qtbot.addWidget(pane)
    try:
        for path in files:
            pane.load(path, 64)
            qtbot.waitUntil(lambda: pane.state in ("ready", "failed"), timeout=60_000)
            expected = "failed" if path.stem == "damaged" else "ready"
            assert pane.state == expected, path.stem
    finally:
        pane.close_worker()
        end_threads()
