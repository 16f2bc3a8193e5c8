"""The window. Imports Qt and slmstudio.core, never slmstudio.worker, torch or transformers."""

import sys


def _keep_singletons_alive() -> None:
    """Give None, True, False and NotImplemented more references than a program can lose.

    The wheels of PySide6 6.12.0 are built against Python 3.12's headers, where these objects are immortal and functions
    return them without taking a reference. On Python 3.11 each such call (every `setText`, every `Signal.emit`) drops
    one, and after some thousand calls the interpreter aborts with "none_dealloc". 6.11.1 does not do so.
    """
    if sys.version_info < (3, 12):
        import ctypes

        for singleton in (None, True, False, NotImplemented):
            ctypes.c_ssize_t.from_address(id(singleton)).value += 1 << 40


_keep_singletons_alive()
