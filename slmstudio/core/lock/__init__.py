"""The lock that a worker puts on itself: no network, and no files except its own. Enforced by Linux, without any
rights.

`syscalls` names the calls of a processor, `program` assembles what the kernel decides by, `seccomp` installs it, and
`warden` is the process that names each refused attempt in the log (`attempts`) and lets calls through that lead to own
processes (`family`). `landlock` closes the file system, `places` says which of it a job needs. `worker_lock` puts them
together, `proof` shows that they hold. `foreign_child` is the process, with limits of its own, that runs what came with
a model. What the lock isn't: a protection of the window or the terminal, and anything at all on Windows and macOS.
"""
