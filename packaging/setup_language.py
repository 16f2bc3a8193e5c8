"""The setup in the language of the system, by the program's own catalogues: they need the standard library alone."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_ROOT = str(Path(__file__).resolve().parent.parent)
sys.path.insert(0, _ROOT)  # this program's own, whatever this Python has
try:
    from slmstudio.core import i18n
    from slmstudio.core.i18n import noop, ntr, tr
finally:
    sys.path.remove(_ROOT)

__all__ = ["noop", "ntr", "speak", "tr", "variables"]
SHAPED = ("ar", "as", "bn", "bo", "fa", "gu", "he", "hi", "km", "kn", "ks", "lo", "ml", "mr", "my", "ne", "or", "pa",
          "ps", "sa", "sd", "si", "ta", "te", "th", "ug", "ur")
"""Languages whose letters change their shape and place by their neighbours."""


def speak(window: bool = False) -> None:
    """Speak the language of the environment or the system. The program that is opened later chooses by itself.

    Args:
        window: for Tk, which on Linux puts the letters of a `SHAPED` language in the wrong places: English there.
    """
    given = os.environ.get(i18n.VARIABLE)
    i18n.use()
    if window and sys.platform.startswith("linux") and i18n.language().partition("_")[0] in SHAPED:
        i18n.use("en")
    os.environ.pop(i18n.VARIABLE)
    if given is not None:
        os.environ[i18n.VARIABLE] = given


def variables() -> dict[str, str]:
    """What makes a child process speak the same language."""
    return {i18n.VARIABLE: i18n.language()}


speak()
