"""A Windows job object, so that what this process starts can't outlive it, however it ends.

Linux has a call for that which each process makes itself (`agent_side.begin`).
"""

from __future__ import annotations

import ctypes

_EXTENDED_LIMITS, _KILL_ON_JOB_CLOSE = 9, 0x2000
"""JobObjectExtendedLimitInformation and JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE (winnt.h)."""


class _BasicLimits(ctypes.Structure):
    """JOBOBJECT_BASIC_LIMIT_INFORMATION."""

    _fields_ = (("process_time", ctypes.c_int64), ("job_time", ctypes.c_int64), ("flags", ctypes.c_uint32),
                ("least_working_set", ctypes.c_size_t), ("most_working_set", ctypes.c_size_t),
                ("most_processes", ctypes.c_uint32), ("affinity", ctypes.c_size_t), ("priority", ctypes.c_uint32),
                ("scheduling", ctypes.c_uint32))


class _Limits(ctypes.Structure):
    """JOBOBJECT_EXTENDED_LIMIT_INFORMATION."""

    _fields_ = (("basic", _BasicLimits), ("io", ctypes.c_uint64 * 6), ("memory", ctypes.c_size_t * 4))


def end_together() -> bool:
    """Put this process into a job object of its own: Windows ends whatever is in it when this process ends, since that
    closes the only handle. Processes that it starts from now on are in it too.

    Returns:
        Whether that was done; elsewhere than on Windows it isn't. Where Windows refuses, its processes still look
        whether it is there, and end themselves.
    """
    library = getattr(ctypes, "WinDLL", None)
    if library is None:
        return False
    kernel = library("kernel32", use_last_error=True)
    kernel.CreateJobObjectW.restype = kernel.GetCurrentProcess.restype = ctypes.c_void_p
    kernel.CreateJobObjectW.argtypes = (ctypes.c_void_p, ctypes.c_wchar_p)
    kernel.SetInformationJobObject.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_uint32)
    kernel.AssignProcessToJobObject.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
    job = kernel.CreateJobObjectW(None, None)  # without a name, and with a handle that no child inherits
    limits = _Limits(basic=_BasicLimits(flags=_KILL_ON_JOB_CLOSE))
    return bool(job and kernel.SetInformationJobObject(job, _EXTENDED_LIMITS, ctypes.byref(limits),
                                                       ctypes.sizeof(limits))
                and kernel.AssignProcessToJobObject(job, kernel.GetCurrentProcess()))
