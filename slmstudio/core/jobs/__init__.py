"""Jobs: a folder and a worker process each. Starting, attaching to, commanding and ending them.

`job` is a job as core and the window see it, `processes` the process itself, `outcome` how it ended, `interactive` a
worker that answers at once (chat), `advice` what a user can do about one that ended badly.
What is done in a job is in `slmstudio.worker`.
"""

from slmstudio.core.jobs.job import (
    COMMANDS,
    DAMAGED,
    DAMAGED_SENTENCE,
    EVENTS,
    LOADING,
    LOG,
    MEMORY_KILL,
    OUTCOME,
    POLL_SECONDS,
    PROCESS,
    PROTOCOL,
    REQUEST,
    RUN,
    EventReader,
    Job,
    commands_end,
    gone,
    need_own_files,
    write_outcome,
    write_process_file,
)
from slmstudio.core.jobs.outcome import Outcome

__all__ = ["COMMANDS", "DAMAGED", "DAMAGED_SENTENCE", "EVENTS", "LOADING", "LOG", "MEMORY_KILL", "OUTCOME",
           "POLL_SECONDS", "PROCESS", "PROTOCOL", "REQUEST", "RUN", "EventReader", "Job", "Outcome", "commands_end",
           "gone", "need_own_files", "write_outcome", "write_process_file"]
