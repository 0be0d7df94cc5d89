"""The error rate that the conclusions of a run share."""

import errno
import tarfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from test_old_run import ARCHIVE, open_old

from osteo_ray.base.progress import Clock
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import Place
from osteo_ray.base.tables import read_json, write_json
from osteo_ray.experiment.conclusions import (
    identify_conclusion,
    number_conclusion,
    share_alpha,
)
from osteo_ray.experiment.looks import LookTaken
from osteo_ray.experiment.trials import Trial
from osteo_ray.pipeline.compare import conclusion, running
from osteo_ray.pipeline.compare.conclusion import Finished, conclude
from osteo_ray.pipeline.compare.sweeps import Failure
from osteo_ray.statistics.significance import corrected_t_test
from osteo_ray.statistics.sizes import Sizes

PLAIN: dict[str, Any] = {
    "metric": "auc", "margin": None, "alpha": 0.05, "positive_class": "worn", "judged": "lime",
    "tested": {"m": [0, 1, 2]},
}  # fmt: skip


def test_shares_add_up_to_the_whole_error_rate() -> None:
    shares = [share_alpha(number) for number in range(1, 40)]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1)
    assert shares[0] == 0.8
    assert share_alpha(10**12) == 0
    with pytest.raises(ValueError, match="from 1"):
        share_alpha(0)


@pytest.mark.parametrize(
    "change",
    [
        {"metric": "mcc"},
        {"margin": 0.1},
        {"alpha": 0.1},
        {"positive_class": "normal"},
        {"judged": "lime_crossfit"},
        {"tested": {"m": [0, 1, 2, 3]}},
        {"tested": {"m": [0, 1, 2], "k": [0, 1, 2]}},
    ],
)
def test_another_plan_or_more_seeds_are_another_conclusion(change: dict[str, Any]) -> None:
    key = identify_conclusion(**PLAIN)
    assert key == identify_conclusion(**{**PLAIN, "tested": {"m": [2, 1, 0]}})
    other = identify_conclusion(**{**PLAIN, **change})
    earlier = [{"key": key}]
    assert number_conclusion(earlier, key) == 1
    assert number_conclusion(earlier, other) == 2
    assert number_conclusion([{"key": key}, {"key": other}], other) == 2


def test_adding_seeds_until_something_is_shown_keeps_the_error_rate() -> None:
    rng = np.random.default_rng(0)
    sizes = Sizes(n_test=0, n_train=1)  # seeds that share nothing: the plain t-test
    naive = paid = 0
    for _ in range(600):
        differences = rng.normal(size=30)
        p_values = [
            corrected_t_test(differences[:n], sizes).p for n in (5, 8, 11, 14, 17, 20, 25, 30)
        ]
        naive += min(p_values) < 0.05
        paid += any(p < 0.05 * share_alpha(k) for k, p in enumerate(p_values, start=1))
    assert naive > 600 * 0.10
    assert paid <= 600 * 0.05


@pytest.fixture
def trained(tmp_path: Path) -> Run:
    """A run whose trainings are there, and that has drawn no conclusion yet."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    run = Run(tmp_path / "run")
    run.comparison.unlink()
    return run


def test_training_that_failed_and_was_retried_costs_no_error_rate(trained: Run) -> None:
    experiment = open_old(trained)
    judged = Trial("test_byobnet", 1, "lime_crossfit")
    place = experiment.path_of(judged)
    place.rename(place.parent / "lost")
    conclude(Finished(experiment, [Failure(judged, "its process died")], Clock()))
    assert read_json(trained.comparison)["conclusion"]["number"] == 1
    assert not trained.conclusions.exists()  # no gain could be claimed
    (place.parent / "lost").rename(place)
    conclude(Finished(experiment, [], Clock()))
    found = read_json(trained.comparison)["conclusion"]
    assert (found["number"], found["earlier"]) == (1, [])
    assert found["alpha"] == pytest.approx(0.8 * 0.05)


def test_nothing_is_concluded_that_could_not_be_recorded(
    trained: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_disk(path: Place, *rest: Any) -> None:
        if path == trained.conclusions:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write_json(path, *rest)

    finished = Finished(open_old(trained), [], Clock())
    with monkeypatch.context() as patch:
        patch.setattr(conclusion, "write_json", fill_disk)
        with pytest.raises(OSError, match="No space left"):
            conclude(finished)
    assert not trained.comparison.exists()
    conclude(finished)
    assert read_json(trained.comparison)["conclusion"]["number"] == 1


@pytest.mark.parametrize("stop", [False, True])
def test_looks_of_a_run_that_is_gone_on_with_have_their_error_rate(
    trained: Run, monkeypatch: pytest.MonkeyPatch, stop: bool
) -> None:
    rates: list[float] = []

    def look(found: object, images: object, analysis: Any, *_: object, **named: int) -> LookTaken:
        rates.append(analysis.alpha)
        return LookTaken(named["number"], len(analysis.seeds), 1.0, {}, {}, stop)

    monkeypatch.setattr(running, "_run_stages", lambda *_, **named: [])
    monkeypatch.setattr(running, "take_look", look)
    experiment = open_old(trained)
    statistics = experiment.statistics.model_copy(update={"looks": (1,)})
    for _ in range(2):
        finished = running._run_looks(
            replace(experiment, statistics=statistics),
            SimpleNamespace(clock=Clock()),
            (),  # type: ignore[arg-type]
        )
        conclude(finished)
    assert rates == [pytest.approx(0.8 * 0.05)] * (2 if stop else 4)
    assert read_json(trained.comparison)["conclusion"]["number"] == 1
