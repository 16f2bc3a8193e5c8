"""PDF files of a few lines, each where it is to be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

Spot = tuple[float, float, float, str]
"""Left, bottom, size (below 0: in bold) and text of a line, in points of a page of 600 × 800."""


def write(path: Path, pages: Iterable[Sequence[Spot]], font: str = "Helvetica") -> Path:
    """
    Args:
        font: of what isn't in bold, one of those that every program has.
    """
    contents = [b"\n".join(_shown(spot) for spot in page) for page in pages]
    count = len(contents)
    kids = " ".join(f"{5 + 2 * at} 0 R" for at in range(count))
    parts = [b"1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj",
             f"2 0 obj<</Type/Pages/Kids[{kids}]/Count {count}>>endobj".encode(),
             f"3 0 obj<</Type/Font/Subtype/Type1/BaseFont/{font}>>endobj".encode(),
             b"4 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica-Bold>>endobj"]
    for at, content in enumerate(contents):
        parts += [f"{5 + 2 * at} 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents {6 + 2 * at} 0 R"
                  "/Resources<</Font<</F 3 0 R/B 4 0 R>>>>>>endobj".encode(),
                  b"%d 0 obj<</Length %d>>stream\n" % (6 + 2 * at, len(content)) + content + b"\nendstream endobj"]
    path.write_bytes(b"%PDF-1.4\n" + b"\n".join(parts) + b"\ntrailer<</Root 1 0 R>>\n")
    return path


def _shown(spot: Spot) -> bytes:
    left, bottom, size, text = spot
    escaped = text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
    return f"BT /{'B' if size < 0 else 'F'} {abs(size)} Tf {left} {bottom} Td ({escaped}) Tj ET".encode("latin-1")


def lines(texts: Sequence[str], left: float = 50, top: float = 700, size: float = 10, step: float = 13) -> list[Spot]:
    """One below another."""
    return [(left, top - step * at, size, text) for at, text in enumerate(texts)]
