"""An adapter that another program trained, as a run: continued, exported, asked and evaluated like one's own."""

from __future__ import annotations

import shutil
from pathlib import Path

from slmstudio.core import files, jobs
from slmstudio.core.errors import Problem, UserError, from_os_error
from slmstudio.core.i18n import noop, tr
from slmstudio.core.model import peft_adapter
from slmstudio.core.model.chat_template import find_template
from slmstudio.core.model.facts import ModelFacts, read_model
from slmstudio.core.model.peft_adapter import PeftAdapter
from slmstudio.core.run import checkpoints, folder
from slmstudio.core.run.config import FIELDS, RunConfig
from slmstudio.core.run.config_file import IMPORTED

NO_ROWS = "rows-of-an-imported-adapter"
"""Stands in run.json for the file of the rows that the adapter learned, which nobody knows."""
_UNKNOWN = noop("The adapter doesn't say; this is the usual value.")


def import_adapter(adapter: PeftAdapter, base: Path, name: str | None = None, parent: Path | None = None) -> Path:
    """Make a finished run of an adapter on its base; returns the run folder. The adapter's own folder isn't changed.

    Args:
        name: of the run; by default the adapter's.
        parent: where run folders are made.

    Raises:
        UserError: the base can't be read or isn't the adapter's, or the run can't be written.
    """
    facts = read_model(base)
    if said := peft_adapter.misfits(adapter, base):
        raise UserError(tr("{adapter} doesn't belong to {model}.", adapter=adapter.name, model=facts.name), "",
                        tr("Choose the base model that the adapter was trained on."),
                        [Problem(sentence) for sentence in said])
    job = folder.create(_config(adapter, facts, name), parent)
    try:
        digest = _copy(adapter, facts, job.folder)
        state = {**job.request(), IMPORTED: {"adapter": str(adapter.path.absolute()), "base": adapter.base_named}}
        files.write_atomically(job.folder / jobs.RUN, files.dump_pretty(state))
        jobs.write_outcome(job.folder, jobs.Outcome("finished", result={
            folder.ADAPTER: str(job.folder / folder.ADAPTER), folder.RESULT_DIGEST: digest}))
    except OSError as error:
        shutil.rmtree(job.folder, ignore_errors=True)
        raise from_os_error(error, tr("Could not create a run for the adapter.")) from error
    return job.folder


def template_differs(adapter: PeftAdapter, base: Path) -> bool:
    """Whether the adapter's folder holds another chat template than the base's, which is the one that is used."""
    try:
        own = find_template(adapter.path)
    except UserError:
        return True  # a broken one
    return own is not None and own != find_template(base)


def _config(adapter: PeftAdapter, base: ModelFacts, name: str | None) -> RunConfig:
    reasons = dict.fromkeys(FIELDS, tr(_UNKNOWN))
    of_adapter = dict.fromkeys(("lora_rank", "lora_alpha", "lora_dropout", "target_modules", "use_dora", "use_rslora"),
                               tr("As in the adapter."))
    layers = adapter.config["target_modules"]
    return RunConfig(
        name=name or adapter.name, model=str(base.path.absolute()),
        train_file=str(adapter.path.absolute() / NO_ROWS),
        method="qlora" if base.quantization == "bitsandbytes 4-bit" else "lora", lora_rank=adapter.rank,
        lora_alpha=max(1, round(adapter.alpha)), lora_dropout=adapter.config.get("lora_dropout") or 0.0,
        target_modules=sorted({layer.rpartition(".")[2] for layer in layers}),  # each name once, as q_proj
        use_dora=bool(adapter.config.get("use_dora")),
        use_rslora=bool(adapter.config.get("use_rslora")), max_length=min(1024, base.context_length),
        reasons=reasons | of_adapter | {
            "name": tr("It came from {path}.", path=adapter.path), "model": tr("The adapter's base."),
            "train_file": tr("It isn't known what the adapter was trained on."),
            "method": tr("It is an adapter.")})


def _copy(adapter: PeftAdapter, base: ModelFacts, run: Path) -> str:
    """Put the adapter into the run, complete or not at all; returns the SHA-256 of its manifest."""
    partial, final = run / f".{folder.ADAPTER}.partial", run / folder.ADAPTER
    partial.mkdir()
    shutil.copyfile(adapter.path / peft_adapter.WEIGHTS, partial / peft_adapter.WEIGHTS)
    files.write_atomically(partial / peft_adapter.CONFIG, files.dump_pretty(
        {**adapter.config, "base_model_name_or_path": str(base.path.absolute())}))
    checkpoints.seal(partial, 0)
    partial.rename(final)
    files.fsync_folder(run)
    return files.sha256_of(final / checkpoints.MANIFEST)
