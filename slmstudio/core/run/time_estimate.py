"""How long training, answering, exporting and downloading take, before they begin: a range of seconds and what it rests
on.

All of it is scaled by work: a machine that did so many operations in a second before will do as many again. Operations
of training are counted per token (Kaplan et al. 2020, arXiv 2001.08361, section 2.1).
"""

from __future__ import annotations

import contextlib
import math
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from slmstudio.core import units
from slmstudio.core.errors import UserError
from slmstudio.core.files import an_object, number
from slmstudio.core.hardware.guidance import ROUGHLY, rough_seconds
from slmstudio.core.hardware.machine import Machine
from slmstudio.core.i18n import tr
from slmstudio.core.model import scratch
from slmstudio.core.model.facts import ModelFacts
from slmstudio.core.run import measured
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.curves import sequences, steps_per_epoch, total_steps
from slmstudio.core.run.measured import Measurement

# -- How long evaluations, exports and downloads took on this machine, kept in `timings.json` for estimates to come.

KIND = "timings"
ANSWERING, TUNED, GENERAL, EXPORTING, DOWNLOADING = (
    "answering", "answering tuned", "general", "exporting", "downloading")
MOST = 60
"""Entries of one kind that are kept; the oldest go first."""


@dataclass(frozen=True)
class Timing:
    """
    Attributes:
        kind: `ANSWERING` as the model came, `TUNED` with an adapter, `GENERAL` of the general questions, `EXPORTING` or
            `DOWNLOADING`.
        machine: as `measured.device_key` names it; "" of a download.
        model: as `measured.model_key` names it, of an export with its types; "" of a download.
        units: tokens of the questions with their references, files, bytes, or all general questions as one; `cost`: of
            one of them, to scale by: the model's parameters, or 1.
        seconds: that they took; `before`: that went by until the first of them, as for loading.
        when: seconds since 1970.
    """

    kind: str
    machine: str
    model: str
    units: float
    cost: float
    seconds: float
    before: float
    when: float

    @classmethod
    def now(cls, kind: str, units: float, seconds: float, *, machine: str = "", model: str = "", cost: float = 1.0,
            before: float = 0.0) -> Timing:
        return cls(kind, machine, model, float(units), float(cost), seconds, before, time.time())


def record(timing: Timing) -> None:
    """Keep one, as far as that is possible: it is only a help. What says nothing isn't kept."""
    if timing.units <= 0 or timing.seconds <= 0:
        return

    def with_it(known: list[Timing]) -> list[Timing]:
        kept = [*known, timing]
        return [each for place, each in enumerate(kept)
                if sum(later.kind == each.kind for later in kept[place + 1:]) < MOST]

    with contextlib.suppress(UserError, OSError):
        measured.change(KIND, Timing, with_it)


def load() -> list[Timing]:
    """What is known, oldest first; nothing where the file can't be used."""
    with contextlib.suppress(UserError, OSError):
        return [each for each in measured.entries(KIND, Timing) if each.units > 0 and each.cost > 0]
    return []


MEASURED, ALIKE, SCALED, ROUGH = "measured", "alike", "scaled", "rough"
"""What an estimate rests on: a trial of this very run, a run with the same model and settings, runs of other models on
this machine (scaled by the operations that a token takes), or the kind of machine alone."""
SPREAD = {MEASURED: 1.1, ALIKE: 1.2, SCALED: 1.4, ROUGH: ROUGHLY}
"""The range goes from the likely time divided by this to the likely time multiplied by it."""


@dataclass(frozen=True)
class TimeEstimate:
    """
    Attributes:
        low, high: seconds.
        source: what it rests on, one of the words above.
    """

    low: float
    high: float
    source: str

    @classmethod
    def around(cls, likely: float, source: str) -> TimeEstimate:
        """A range around the likely seconds, as wide as the source is uncertain."""
        return cls(likely / SPREAD[source], likely * SPREAD[source], source)

    @property
    def likely(self) -> float:
        """Seconds in the middle of the range, by proportion."""
        return math.sqrt(self.low * self.high)

    def text(self) -> str:
        """"about 25 min"; where little is known "8 min to 1 h 15 min"."""
        return units.format_about_range(self.low, self.high) if self.source == ROUGH else units.format_about(
            self.likely)

    def to_dict(self) -> dict[str, Any]:
        return {"seconds_low": self.low, "seconds_high": self.high, "time_source": self.source}

    @classmethod
    def from_dict(cls, state: Any) -> TimeEstimate | None:
        """What `to_dict` made; None of anything else."""
        low, high = (number(an_object(state), f"seconds_{end}") for end in ("low", "high"))
        source = an_object(state).get("time_source")
        return cls(low, high, source) if low is not None and high is not None and source in SPREAD else None

    def plus(self, other: TimeEstimate) -> TimeEstimate:
        """One after the other; it rests on what the longer of the two does."""
        return TimeEstimate(self.low + other.low, self.high + other.high,
                            (self if self.likely >= other.likely else other).source)


NEAREST = 5
"""Of what was measured, the median of this many counts: those with the most similar cost of a token."""
LEARNED = 0.5
"""Share of a row's tokens that go through the head, since they are learned: about the answer's. An assumption."""
LOADING, READ = 15.0, 200e6
"""Seconds until PyTorch and the rows are there, and bytes a second of a model that is read: assumptions, until they
were measured."""
DOWNLOAD = 5e6
"""Bytes a second of a connection that nobody knows yet."""
EXPORTED, EXPORT_BASE = 9.5e6, 2e8
"""Parameters a second that an export converts and proves, until it was measured; and what it does for any model and any
number of files, as parameters. On 2 cores, one file of a model of 16 million took 19 s, one of 135 million 30 to 38,
and two of these 48."""
GENERAL_TOKENS = 2800
"""Of the general questions, by the starter model's tokenizer; one that knows Hindi has half of them."""
COPIED = {"ADAPTER": 0.02, "LORA": 0.1, "MERGED": 0.3}
"""What isn't proven, as a share of the work of a GGUF file: an assumption."""
WRITTEN, ANSWERED = 80, 2
"""How many times longer a token takes that is written than one that is read with others: by a run for its fixed
questions, one after the other, and on average of an evaluation's questions and answers, in batches. Seen on 2 cores."""


def operations(facts: ModelFacts, config: RunConfig, length: float) -> tuple[float, float]:
    """Operations of a token that is learned, and of one that is only read.

    A weight takes 2 forward, 2 for the gradients behind it, and 2 for its own where it learns; a base in 4 bits is
    unpacked twice besides, and activations that aren't kept are computed again. Attention grows with the length.

    Args:
        length: tokens of a row, on average.
    """
    if config.method == "scratch":
        facts = scratch.facts_of(facts, config.scratch_size)
    head = facts.vocabulary_size * facts.hidden_size
    inner = max(facts.parameters - head * (1 if facts.tied_embeddings else 2), 1)
    linear = 2.0 * (inner + LEARNED * head)
    attention = 2.0 * facts.layers * facts.heads * facts.head_dim * length
    again = config.gradient_checkpointing + (config.objective in ("dpo", "kto"))  # the latter's reference model
    passes = 2 if config.method == "lora" else 3
    return linear * (passes + again) + attention * (3 + again), linear + attention


def evaluation_operations(facts: ModelFacts, config: RunConfig, length: float, evaluated: int) -> float:
    """Operations of one evaluation of the loss, with the answers to the fixed questions.

    Args:
        evaluated: rows of it.
    """
    written = config.sample_max_tokens if evaluated or config.sample_prompts else 0
    return (evaluated * length + WRITTEN * written) * operations(facts, config, length)[1]


STRENGTHS = 2
"""Evaluations that usually choose the strength of an adapter."""


def training(facts: ModelFacts, config: RunConfig, machine: Machine, train_rows: int, tokens: float,
             evaluated: int | None = None, known: Sequence[Measurement] | None = None) -> TimeEstimate:
    """The time of a whole run, with its evaluations of the loss.

    Args:
        facts: of a model on the disk, or of one in the catalogue.
        train_rows: rows that it learns; `tokens`: of these rows, once.
        evaluated: rows of an evaluation; None takes the share that the run holds back.
        known: the measurements, where they were read already.
    """
    known = measured.load() if known is None else known
    if evaluated is None:
        evaluated = round(train_rows * config.eval_fraction / (1 - config.eval_fraction))
    length, steps = tokens / max(1, train_rows), total_steps(config, train_rows)
    evaluations = 1 + math.ceil(steps / config.eval_steps) + STRENGTHS * config.chooses_strength
    here = [each for each in known if each.machine == measured.machine_key(config, machine)]
    cost, _ = operations(facts, config, length)
    exact = measured.find(facts, config, machine, known)
    if exact is not None and exact.seconds_per_step is not None:
        seconds = steps * exact.seconds_per_step + evaluations * (exact.seconds_per_evaluation or 0.0)
        return TimeEstimate.around(seconds + _besides(facts, cost, [exact], here), MEASURED)
    all_tokens = tokens * steps / max(1, steps_per_epoch(config, train_rows)) * sequences(config)
    read = evaluation_operations(facts, config, length, evaluated) * sequences(config)
    same = measured.alike(facts, config, machine, known)
    for source, found in ((ALIKE, same), (SCALED, _comparable(config, [each for each in here if each.operations]))):
        rate = _typical(cost, ((each.operations or cost, each.tokens_per_second * (each.operations or cost))
                               for each in found if each.tokens_per_second))
        if rate is not None:
            reading = _typical(cost, ((each.operations, each.evaluation_operations / each.seconds_per_evaluation)
                                      for each in found if each.operations and each.evaluation_operations
                                      and each.seconds_per_evaluation)) or rate
            return TimeEstimate.around(all_tokens * cost / rate + evaluations * read / reading
                                       + _besides(facts, cost, same, here), source)
    made = scratch.facts_of(facts, config.scratch_size) if config.method == "scratch" else facts
    rough = rough_seconds(made.parameters, all_tokens, machine, config.method,
                          on_gpu=measured.device_of(config, machine) == "cuda")
    share = evaluations * read / max(1.0, all_tokens * cost)
    return TimeEstimate.around(rough * (1 + share) + _besides(facts, cost, same, here), ROUGH)


def _comparable(config: RunConfig, found: Sequence[Measurement]) -> Sequence[Measurement]:
    """Those that computed in the same number format, in 4 bits or not, if there are any."""
    def kind(precision: Any, method: Any) -> tuple[Any, bool]:
        return precision, method == "qlora"

    return [each for each in found if kind(each.settings.get("precision"), each.settings.get("method"))
            == kind(config.precision, config.method)] or found


def _besides(facts: ModelFacts, cost: float, *found: Sequence[Measurement]) -> float:
    """Seconds of loading and whatever else isn't a step or an evaluation: by the first of these lists that tells."""
    for some in found:
        seconds = _typical(cost, ((each.operations or cost, each.seconds_besides) for each in some
                                  if each.seconds_besides is not None))
        if seconds is not None:
            return seconds
    return LOADING + facts.disk_bytes / READ


def _typical(cost: float, found: Iterable[tuple[float, float]]) -> float | None:
    """The median of the values whose cost is most like this one, the newest of equals; None without any.

    Args:
        found: (cost, value), oldest first.
    """
    nearest = sorted(enumerate(found), key=lambda each: (abs(math.log(each[1][0] / cost)), -each[0]))[:NEAREST]
    return statistics.median(value for _, (_, value) in nearest) if nearest else None


def _timed(kind: str, machine: str, model: str, amount: float, cost: float, known: Sequence[Timing] | None
           ) -> TimeEstimate | None:
    """By what this took before: with the same model, else with others; None if it never did."""
    here = [each for each in (load() if known is None else known)
            if each.kind == kind and each.machine == machine]
    same = [each for each in here if each.model == model]
    rate = _typical(cost, ((each.cost, each.seconds / (each.units * each.cost)) for each in same or here))
    before = _typical(cost, ((each.cost, each.before) for each in same or here))
    if rate is None or before is None:
        return None
    return TimeEstimate.around(before + amount * cost * rate, ALIKE if same and model else SCALED)


def answering(facts: ModelFacts, machine: Machine, answers: int, tokens: float, tuned: bool = False,
              known: Sequence[Timing] | None = None) -> TimeEstimate:
    """The time in which a model writes answers in batches, as an evaluation does.

    Args:
        answers: how many; `tokens`: of one question with its answer, on average.
        tuned: whether with what a run has learned: such a model ends its answers sooner.
        known: what such work took before, where it was read already.
    """
    key, units = measured.device_key("cuda" if machine.gpus else "cpu", machine), answers * tokens
    own, other = (TUNED, ANSWERING) if tuned else (ANSWERING, TUNED)
    if found := _timed(own, key, measured.model_key(facts), units, facts.parameters, known):
        return found
    if found := _timed(other, key, measured.model_key(facts), units, facts.parameters, known):
        return TimeEstimate.around(found.likely, SCALED)
    return TimeEstimate.around(
        LOADING + facts.disk_bytes / READ + rough_seconds(facts.parameters, ANSWERED * units, machine) / 2, ROUGH)


def general(facts: ModelFacts, machine: Machine, known: Sequence[Timing] | None = None) -> TimeEstimate:
    """The time in which a model that is loaded is asked the general questions, which it only reads."""
    key = measured.device_key("cuda" if machine.gpus else "cpu", machine)
    found = _timed(GENERAL, key, measured.model_key(facts), 1, facts.parameters, known)
    return found or TimeEstimate.around(rough_seconds(facts.parameters, GENERAL_TOKENS, machine) / 2, ROUGH)


def exporting(facts: ModelFacts, machine: Machine, types: Sequence[str] = (),
              known: Sequence[Timing] | None = None) -> TimeEstimate:
    """The time of an export to GGUF with its proof.

    Args:
        types: what is made; without any, one file.
        known: what such work took before, where it was read already.
    """
    found = _timed(EXPORTING, measured.device_key("cpu", machine), export_key(facts, types), 1,
                   export_cost(facts, types), known)
    return found or TimeEstimate.around(export_cost(facts, types) / EXPORTED, ROUGH)


def export_cost(facts: ModelFacts, types: Sequence[str] = ()) -> float:
    """What an export takes, to scale by: in parameters that are written and proven, in all its GGUF files."""
    files = sum(COPIED.get(kind, 1.0) for kind in types or ("F16",))
    return EXPORT_BASE * min(1.0, files) + facts.parameters * files


def export_key(facts: ModelFacts, types: Sequence[str]) -> str:
    """Names an export of just these types."""
    return f"{measured.model_key(facts)}, {', '.join(sorted(types))}"


def downloading(size: float, known: Sequence[Timing] | None = None) -> TimeEstimate:
    """The time in which so many bytes arrive, at the speed of the last downloads."""
    return _timed(DOWNLOADING, "", "", size, 1.0, known) or TimeEstimate.around(size / DOWNLOAD, ROUGH)


def source_text(estimate: TimeEstimate) -> str:
    """What an estimate rests on, in a few words."""
    return {MEASURED: tr("measured on this machine"), ALIKE: tr("judging by such runs on this machine"),
            SCALED: tr("scaled from other runs on this machine"),
            ROUGH: tr("a rough estimate from the kind of machine")}[estimate.source]
