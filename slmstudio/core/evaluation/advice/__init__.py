"""What a run came to in one plain sentence, and what to do next, each proposal with its reason.

`evidence` collects what is known about a run and its evaluation, `headline` weighs it and says what came of it, and
`proposals` what an experienced person would try. Nothing here measures anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slmstudio.core import jobs
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation.advice import headline as headlines
from slmstudio.core.evaluation.advice.evidence import Evidence, gather
from slmstudio.core.evaluation.advice.proposals import AGAIN, TRAIN, Proposal, propose
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.history import RunHistory
from slmstudio.core.run.store import RUNS

if TYPE_CHECKING:
    from slmstudio.core.run.time_estimate import TimeEstimate


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


def training_time(run: Path, proposal: Proposal) -> TimeEstimate | None:
    """How long the run takes that a proposal prepares; None where it trains nothing, or too little is known."""
    from slmstudio.core.hardware.machine import read_machine
    from slmstudio.core.model.facts import read_model
    from slmstudio.core.run import time_estimate

    config, plan = RunConfig.from_dict(jobs.Job(run).request()), RUNS.history(run).plan
    tokens, rows = plan.get("tokens_per_epoch"), plan.get("train_rows")
    if proposal.action not in (TRAIN, AGAIN) or not isinstance(tokens, int) or not isinstance(rows, int):
        return None
    new = replace(config, **({"max_steps": None} if "epochs" in proposal.changes else {}) | proposal.changes)
    try:
        return time_estimate.training(read_model(Path(config.model)), new, read_machine(), rows, tokens)
    except UserError:  # the base model isn't there any more, which is told where the run is planned
        return None


def of_run(run: Path, scores: Mapping[str, Any] | None, request: Mapping[str, Any] | None = None) -> Advice | None:
    """The same, read from a run folder; None if it isn't one.

    Raises:
        UserError: a newer program made it, or it can't be read.
    """
    if not (run / jobs.RUN).is_file():
        return None
    return advise(RunConfig.from_dict(jobs.Job(run).request()), RUNS.history(run), scores, request)
