"""A job that does what hostile code in a worker would do, and a worker that knows it.

    python -P tests/support/hostile_job.py JOB_FOLDER
"""

from __future__ import annotations

import sys
from typing import Any


def run(job: Any) -> dict[str, Any]:
    """{"attempts": [(what, blocked, gave)]} of what the request names."""
    from slmstudio.core.lock import proof

    return {"attempts": [proof._made(*attempt) for attempt in proof._attempts(job.request)]}


if __name__ == "__main__":
    from slmstudio.worker import __main__ as worker

    worker.KINDS["hostile"] = "hostile_job"
    sys.path.append(__file__.rpartition("/")[0])
    sys.exit(worker.main(sys.argv[1:]))
