"""What votes say, their list and its export."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtWidgets import QFileDialog
from support.window import press

from slmstudio.core import paths
from slmstudio.core.data.reader import read_dataset
from slmstudio.core.votes import store as votes
from slmstudio.core.votes.store import ALL_BAD, BEST, Answer, Vote, VotedModel
from slmstudio.core.votes.tally import Tally
from slmstudio.gui.chat.blind_comparison import score_text
from slmstudio.gui.corrections.votes import VotesDialog, verdict_text

BASE, TUNED = (VotedModel(name, f"/m/{name}.gguf", 1, name) for name in ("base", "tuned"))


@pytest.mark.parametrize(("wins", "words"), [
    ([0, 0], "no vote prefers"), ([4, 4], "8 votes: as many for one"),
    ([3, 9], "12 votes: tuned wins 9 of 12. Chance alone makes such a difference 15% of the time. About 5 more votes"),
    ([1, 10], "tuned wins 10 of 11. Chance alone makes such a difference 1.2% of the time, so this one is "
              "probably real."),
    ([30, 0], "less than 0.1%"), ([501, 500], "Even 2,000 more votes would hardly"),
    ([1, 0], "1 vote: base wins 1 of 1"),
])
def test_the_sentence_is_honest(wins, words):
    assert words in verdict_text(Tally(BASE, TUNED, wins))
    assert score_text(Tally(BASE, TUNED, wins, 1, 1)) == f"base {wins[0]} · tuned {wins[1]} · ties 2"


def export(qtbot, dialog: VotesDialog, button: str, path: Path) -> None:
    """Press a button, and choose where to save."""
    press(qtbot, dialog, button)
    chooser = dialog.findChild(QFileDialog)
    chooser.fileSelected.emit(str(path))
    chooser.setParent(None)
    chooser.deleteLater()


def test_the_list_of_votes_and_its_export(qtbot, studio_home, session, tmp_path):
    asked = ({"role": "user", "content": "राशन कार्ड?"},)
    for number, (verdict, best) in enumerate([(BEST, 1), (BEST, 1), (BEST, 0), (ALL_BAD, None)]):
        votes.add(Vote(1.0, (Answer(BASE, asked, f"no {number}"), Answer(TUNED, asked, f"yes {number}")), 1, (0, 1),
                       verdict, best, True))
    with open(paths.votes_file(), "a", encoding="utf-8") as file:
        file.write("{broken\n")
    dialog = VotesDialog()
    qtbot.addWidget(dialog)
    dialog.show()
    qtbot.waitUntil(lambda: dialog.table.rowCount() == 1)
    assert [dialog.table.item(0, column).text() for column in range(6)] == ["base", "1", "tuned", "2", "0", "1"]
    assert "3 votes: tuned wins 2 of 3" in dialog.sentence.text()
    assert dialog.note.text() == "4 votes, saved on this machine. 1 damaged line in the file was skipped."
    export(qtbot, dialog, "votes_export", tmp_path / "pairs.jsonl")
    qtbot.waitUntil((tmp_path / "pairs.jsonl").exists)
    found = read_dataset(tmp_path / "pairs.jsonl")
    assert [(row.messages[-1]["content"], row.rejected) for row in found.records] == [
        ("yes 0", "no 0"), ("yes 1", "no 1"), ("no 2", "yes 2")]
    export(qtbot, dialog, "votes_export_all", tmp_path / "gone" / "x" / "pairs.jsonl")
    qtbot.waitUntil((tmp_path / "gone" / "x" / "pairs.jsonl").exists)
    (tmp_path / "file").write_text("")
    export(qtbot, dialog, "votes_export_all", tmp_path / "file" / "pairs.jsonl")
    qtbot.waitUntil(dialog.banner.isVisible)


def test_an_empty_list_says_what_to_do(qtbot, studio_home, session, unexplained):
    dialog = VotesDialog()
    qtbot.addWidget(dialog)
    dialog.show()
    qtbot.waitUntil(lambda: "no votes yet" in dialog.note.text())
    assert not dialog.export.isEnabled() and not dialog.export_all.isEnabled()
    assert unexplained(dialog) == []
