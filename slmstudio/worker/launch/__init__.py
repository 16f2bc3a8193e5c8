"""What is around the processes that train one run together: torchrun's agent, which starts and ends them, their logs,
whose death ended them all, and how the machines that take part meet.

What happens inside such a process is in `training`; who it is among the others, in `runtime.ranks`.
"""
