"""How the program's environment is set up again: what is missing in it, such as the chat engine, is tried again."""

from __future__ import annotations

import sys
from pathlib import Path

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr

BOOTSTRAP = Path(__file__).resolve().parent.parent.parent / "packaging" / "bootstrap.py"


def command() -> list[str]:
    """The setup's command. It runs outside of the environment that it changes.

    Raises:
        UserError: the program was put here by other means, as by pip.
    """
    if not BOOTSTRAP.is_file():
        raise UserError(tr("This copy of SLM Studio can't set itself up."),
                        tr("Its setup ({file}) is missing: the program wasn't installed by its own installer.",
                           file=BOOTSTRAP),
                        tr("Use the installer, the package or a checkout, or install what is missing with pip."))
    return [getattr(sys, "_base_executable", sys.executable), str(BOOTSTRAP), "setup"]
