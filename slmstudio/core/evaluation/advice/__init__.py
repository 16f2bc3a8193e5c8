"""What a run came to in one plain sentence, and what to do next, each proposal with its reason.

`evidence` collects what is known about a run and its evaluation, `headline` weighs it and says what came of it, and
`proposals` what an experienced person would try. Nothing here measures anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slmstudio.core import jobs
from slmstudio.core.evaluation.advice import headline as headlines
from slmstudio.core.evaluation.advice.evidence import Evidence, gather
from slmstudio.core.evaluation.advice.proposals import Proposal, propose
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.history import RunHistory
from slmstudio.core.run.store import RUNS


@dataclass(frozen=True)
class Advice:
    """
    Attributes:
        headline: what came of it, in a sentence.
        tone: its colour: "ok", "bad", "warn", or "" for none.
        caveat: what that doesn't mean, or "".
        proposals: the one to begin with first.
        evidence: what all of it rests on.
    """

    headline: str
    tone: str
    caveat: str
    proposals: tuple[Proposal, ...]
    evidence: Evidence

    def to_dict(self) -> dict[str, Any]:
        return {"headline": self.headline, "tone": self.tone, "caveat": self.caveat,
                "proposals": [asdict(each) for each in self.proposals]}


def advise(config: RunConfig, history: RunHistory, scores: Mapping[str, Any] | None,
           request: Mapping[str, Any] | None = None) -> Advice:
    """What a run and one of its evaluations, or none, come to; arguments as of `gather`."""
    found = gather(config, history, scores, request)
    return Advice(*headlines.headline(found), headlines.caveat(found), tuple(propose(found)), found)


def of_run(run: Path, scores: Mapping[str, Any] | None, request: Mapping[str, Any] | None = None) -> Advice | None:
    """The same, read from a run folder; None if it isn't one.

    Raises:
        UserError: a newer program made it, or it can't be read.
    """
    if not (run / jobs.RUN).is_file():
        return None
    return advise(RunConfig.from_dict(jobs.Job(run).request()), RUNS.history(run), scores, request)
