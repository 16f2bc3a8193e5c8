"""`slmstudio` and `slmstudio FILES` open the window; `slmstudio COMMAND` is the same product in a terminal."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__" and not sys.flags.safe_path and sys.path[0] != os.path.dirname(os.path.dirname(__file__)):
    # `python -m slmstudio` by hand: nothing in the current folder may stand in for a module. (A checkout's own may.)
    del sys.path[0]

QUIT = "--quit-after-paint"


def is_path(word: str) -> bool:
    """Whether a word names a file: no command has a dot or a slash in its name, and no option begins like a file."""
    return not word.startswith("-") and any(sign in word for sign in "./\\")


def main() -> int:
    """The window is started without importing the terminal's libraries, and the other way round."""
    from slmstudio.core import i18n, settings

    i18n.use(os.environ.get(i18n.VARIABLE) or settings.preferred_language())
    arguments = sys.argv[1:]
    files = [word for word in arguments if word != QUIT]
    if not files or is_path(files[0]):
        from pathlib import Path

        from slmstudio.gui.app import application

        return application.main(quit_after_paint=QUIT in arguments, files=[Path(file) for file in files])
    from slmstudio.cli import commands

    return commands.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
