"""`slmstudio` opens the window; `slmstudio COMMAND` is the same product in a terminal."""

from __future__ import annotations

import sys


def main() -> int:
    """The window is started without importing the terminal's libraries, and the other way round."""
    arguments = sys.argv[1:]
    if not arguments or arguments == ["--quit-after-paint"]:
        from slmstudio.gui import app

        return app.main(quit_after_paint=bool(arguments))
    from slmstudio import cli

    return cli.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
