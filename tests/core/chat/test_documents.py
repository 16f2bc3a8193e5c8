"""Documents are read whole, by the readers that datasets have, and cut where a sentence ends."""

from __future__ import annotations

import pytest

from slmstudio.core.chat import conversation
from slmstudio.core.errors import UserError


def test_documents_of_all_kinds_are_read(tmp_path) -> None:
    import docx

    word = docx.Document()
    word.add_heading("Rules")
    word.add_paragraph("राशन कार्ड")
    word.save(tmp_path / "rules.docx")
    (tmp_path / "page.html").write_text("<html><script>x</script><h1>Rules</h1><p>Bring a <b>form</b>.</p></html>")
    (tmp_path / "notes.md").write_bytes("# Rules\n\nBring a form.\n".encode("utf-16"))
    found = [conversation.read_document(tmp_path / name)[0] for name in ("rules.docx", "page.html", "notes.md")]
    assert [each["text"] for each in found] == [
        "Rules\n\nराशन कार्ड", "Rules\n\nBring a form.", "# Rules\n\nBring a form."]


@pytest.mark.parametrize(("name", "content"), [("empty.txt", b" \n"), ("a.pdf", b"%PDF-1.4 nothing"),
                                               ("program", b"\x7fELF\0\1"), ("gone.txt", None)])
def test_what_has_no_text_is_refused(tmp_path, name, content) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError):
        conversation.read_document(tmp_path / name)


def test_a_document_is_cut_at_an_end_and_comes_before_the_question() -> None:
    text = "One two three. " * 10
    assert text[:conversation.cut_before(text, 105)].endswith("three.") and conversation.cut_before("x" * 50, 20) == 20
    assert conversation.message_text("Why?", [{"name": "a.txt", "text": "T"}]) == (
        '<document name="a.txt">\nT\n</document>\n\nWhy?')
