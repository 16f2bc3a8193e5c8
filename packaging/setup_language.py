"""The set-up in the language of the system, by the program's own catalogues: they need the standard library alone."""

from __future__ import annotations

import sys
from pathlib import Path

_ROOT = str(Path(__file__).resolve().parent.parent)
sys.path.insert(0, _ROOT)  # this program's own, whatever this Python has
try:
    from slmstudio.core import i18n
    from slmstudio.core.i18n import noop, ntr, tr
finally:
    sys.path.remove(_ROOT)

__all__ = ["noop", "ntr", "tr"]

i18n.use()
