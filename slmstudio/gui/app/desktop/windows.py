"""Progress in Windows' taskbar: ITaskbarList3, a COM interface, called by its place in the table of methods.

Source: shobjidl_core.h of the Windows SDK. Not tried on a Windows machine yet; whatever fails is logged once, and the
taskbar then shows no progress.
"""

from __future__ import annotations

import ctypes
import logging
from typing import Any

_log = logging.getLogger(__name__)
CLSID_TASKBAR_LIST = "{56FDF344-FD6D-11D0-958A-006097C9A090}"
IID_TASKBAR_LIST_3 = "{EA1AFB91-9E28-4B86-90E9-9E9F8A5EEFAF}"
HR_INIT, SET_PROGRESS_VALUE, SET_PROGRESS_STATE = 3, 9, 10
"""Places of methods: three of IUnknown, five of ITaskbarList, one of ITaskbarList2, then these."""
NO_PROGRESS, NORMAL = 0, 2
CLSCTX_INPROC_SERVER = 1
STEPS = 1000


class WindowsTaskbar:
    """The progress on the button of one window.

    Args:
        window: its handle.
    """

    def __init__(self, window: int):
        self._window = window
        self._list: ctypes.c_void_p | None = None
        try:
            self._list = self._make()
        except OSError as error:
            _log.info("The taskbar shows no progress: %s", error)

    def _make(self) -> ctypes.c_void_p:
        ole: Any = ctypes.OleDLL("ole32")  # type: ignore[attr-defined]
        ole.CoInitialize(None)
        ids = []
        for text in (CLSID_TASKBAR_LIST, IID_TASKBAR_LIST_3):
            found = (ctypes.c_byte * 16)()
            ole.CLSIDFromString(ctypes.c_wchar_p(text), found)
            ids.append(found)
        made = ctypes.c_void_p()
        ole.CoCreateInstance(ids[0], None, CLSCTX_INPROC_SERVER, ids[1], ctypes.byref(made))
        self._call(made, HR_INIT)
        return made

    def _call(self, made: ctypes.c_void_p, place: int, *arguments: Any) -> None:
        table = ctypes.cast(made, ctypes.POINTER(ctypes.POINTER(ctypes.c_void_p)))[0]
        kinds = [type(each) for each in arguments]
        method = ctypes.WINFUNCTYPE(ctypes.HRESULT, ctypes.c_void_p, *kinds)(table[place])  # type: ignore[attr-defined]
        method(made, *arguments)

    def show_progress(self, done: float | None) -> None:
        """From 0 to 1; None takes it away."""
        if self._list is None:
            return
        window = ctypes.c_void_p(self._window)
        try:
            self._call(self._list, SET_PROGRESS_STATE, window, ctypes.c_int(NO_PROGRESS if done is None else NORMAL))
            if done is not None:
                self._call(self._list, SET_PROGRESS_VALUE, window, ctypes.c_ulonglong(round(STEPS * done)),
                           ctypes.c_ulonglong(STEPS))
        except OSError as error:
            _log.info("The taskbar shows no progress: %s", error)
            self._list = None
