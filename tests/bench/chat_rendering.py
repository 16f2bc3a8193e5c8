"""What drawing a long answer costs while it grows: 10,000 tokens, drawn every eighth token as at 160 tokens a second.

    python tests/bench/chat_rendering.py [--tokens 10000] [--json]

For each kind of text: the mean of the first and of the last tenth of all drawings and the slowest one, in
milliseconds, layout and painting included; and the last tenth with QLabel's own Markdown, which reads the whole text
again each time. Exit status 1 when a drawing of the last tenth takes more than a frame (16 ms) on average.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QLabel

from slmstudio.gui.chat.bubbles import ChatBubbles
from slmstudio.gui.common import theme

FRAME_MS = 16.0
EVERY = 8
MIXED = """## Part {n}

राशन कार्ड के लिए **तीन** documents are needed, and each of them is `checked` at the counter of the ward office.

1. First, the *birth certificate* of the child
2. Then the card of its parents
   - one copy
   - the original

| service | fee | days |
|---|--:|---|
| new | {n} | 30 |

```python
def apply(name: str) -> int:
    return {n}
```

"""


def tokens_of(kind: str, count: int) -> Iterator[str]:
    """Pieces of about four characters, as tokens are."""
    parts = {"mixed": MIXED, "code": "    value_{n} = compute(value_{n}, 'text')\n",
             "paragraph": "word number {n} and ", "list": "- item {n} of a list that does not end\n"}[kind]
    text = ("```python\n" if kind == "code" else "") + "".join(
        parts.replace("{n}", str(n)) for n in range(4 * count // len(parts) + 2))
    return (text[at:at + 4] for at in range(0, 4 * count, 4))


def ours(app: QApplication) -> tuple[Callable[[str], None], Callable[[], None], Callable[[], None]]:
    bubbles = ChatBubbles()
    bubbles.resize(760, 600)
    bubbles.show()
    bubbles.begin_answer()
    return bubbles.write, bubbles._draw_writing, bubbles.deleteLater


def whole(app: QApplication) -> tuple[Callable[[str], None], Callable[[], None], Callable[[], None]]:
    label, said = QLabel(), []
    label.setTextFormat(Qt.TextFormat.MarkdownText)
    label.setWordWrap(True)
    label.setFixedWidth(760)
    label.show()

    def draw() -> None:
        label.setText("".join(said))
        label.setFixedHeight(label.heightForWidth(760))

    return said.append, draw, label.deleteLater


def measure(app: QApplication, kind: str, count: int, make: Callable, only_last: bool) -> list[float]:
    """Milliseconds of each drawing."""
    write, draw, end = make(app)
    spent = []
    for number, token in enumerate(tokens_of(kind, count)):
        write(token)
        if number % EVERY == 0 and (not only_last or number > count * 0.98):
            begun = time.perf_counter()
            draw()
            app.processEvents()
            spent.append(1000 * (time.perf_counter() - begun))
    end()
    app.processEvents()
    return spent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    app = QApplication([])
    theme.apply(app, "light")
    result = {}
    for kind in ("mixed", "code", "paragraph", "list"):
        spent = measure(app, kind, options.tokens, ours, False)
        tenth = max(1, len(spent) // 10)
        old = measure(app, kind, options.tokens, whole, True)
        result[kind] = {"first_ms": round(statistics.mean(spent[:tenth]), 2),
                        "last_ms": round(statistics.mean(spent[-tenth:]), 2), "slowest_ms": round(max(spent), 1),
                        "total_s": round(sum(spent) / 1000, 2),
                        "qlabel_markdown_last_ms": round(statistics.mean(old), 1)}
        if not options.json:
            print(kind, result[kind], flush=True)
    if options.json:
        print(json.dumps(result))
    return 0 if all(found["last_ms"] <= FRAME_MS for found in result.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
