"""The lock that a worker puts on itself: no network, and no files except its own. Enforced by Linux, without any
rights.

`seccomp` assembles and installs what the kernel decides by, and `warden` is the process that names each refused attempt
in the log and lets calls through that lead to own processes (`attempts`). `places` closes the file system, except for
what a job needs. `worker_lock` puts them together, `proof` shows that they hold. `foreign_child` is the
process, with limits of its own, that runs what came with a model. What the lock isn't: a protection of the window or
the terminal, and anything at all on Windows and macOS.
"""
