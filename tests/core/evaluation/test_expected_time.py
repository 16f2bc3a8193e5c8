"""How long an evaluation takes: by each model's own answers, and those of unlike ones by the slowest."""

from __future__ import annotations

import pytest

from slmstudio.core.evaluation import at_end
from slmstudio.core.hardware.machine import read_machine
from slmstudio.core.model.facts import read_model
from slmstudio.core.run import measured, time_estimate
from slmstudio.core.run.time_estimate import ALIKE, ROUGH, Timing


def test_each_model_takes_its_own_time_and_a_file_that_of_the_folder_beside_it(studio_home, tiny_model, tmp_path):
    models = [{"name": "Q4", "model": None, "gguf": "x.gguf"}, {"name": "base", "model": str(tiny_model)},
              {"name": "tuned", "model": str(tiny_model), "adapter": "y"}]
    names = [model["name"] for model in models]
    first = at_end.total(at_end.paces(models, None), names, 10)
    assert first is not None and first.source == ROUGH
    facts, machine = read_model(tiny_model), read_machine()
    key = measured.device_key("cuda" if machine.gpus else "cpu", machine)
    for tuned, seconds in ((False, 20.0), (True, 10.0)):
        kind = time_estimate.TUNED if tuned else time_estimate.ANSWERING
        time_estimate.record(Timing.now(kind, 10 * at_end.USUAL_TOKENS, seconds, machine=key,
                                  model=measured.model_key(facts), cost=facts.parameters, before=3.0))
    known = at_end.paces(models, None)
    assert {name: (pace(10).source, round(pace(10).likely)) for name, pace in known.items()} == {
        "base": (ALIKE, 23), "tuned": (ALIKE, 13), "Q4": (ALIKE, 13)}
    total = at_end.total(known, ["base", "another"], 10)
    assert total is not None and total.likely == pytest.approx(46)
    time_estimate.record(Timing.now(time_estimate.GENERAL, 1, 4.0, machine=key, model=measured.model_key(facts),
                                    cost=facts.parameters))
    with_general = at_end.paces(models, None, general=True)
    assert {name: round(pace(10).likely) for name, pace in with_general.items()} == {
        "base": 27, "tuned": 17, "Q4": 13}, "files aren't asked the general questions"
    assert at_end.total({}, names, 10) is None and at_end.total(known, [], 10) is None
    assert at_end.paces(models[:1], None) == {}
