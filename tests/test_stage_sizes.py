"""How much work the stages of a comparison are, and how fast a worker does it."""

import json
from pathlib import Path

import pytest
from tiny_runs import configure

from osteo_ray.base.time_left import Stage
from osteo_ray.cluster.placement import Layout, lay_out
from osteo_ray.cluster.settings import ResourceSettings
from osteo_ray.data.image_size import ImageSize
from osteo_ray.experiment.costs import Parts
from osteo_ray.pipeline.compare.calibration import _time_steps
from osteo_ray.pipeline.compare.stage_sizes import StageSizes, foresee_end, foresee_stages


def lay_out_cpus(n_cpus: int, **settings: int) -> Layout:
    return lay_out([{"CPU": float(n_cpus), "memory": 2.0**36}], ResourceSettings(**settings))


def test_units_cost_less_where_more_of_them_run_at_once() -> None:
    sizes = StageSizes(lay_out_cpus(4), 100, Parts(60, 20, 20), epochs=5, samples=50)
    train = sizes.plan_trainings("train", 12, 2)
    assert (train.total, train.done, train.at_once) == (12, 2, 4)
    assert train.cost_each == 5 * (3 * 60 + 20) / 4
    explain = sizes.plan_explanations("explain", ())
    assert explain.cost_each == pytest.approx(0.7 * 50 / 4)
    assert sizes.plan_divisions("divide", 10, 10).cost_each == 10 * 20 / 4
    wide = StageSizes(lay_out_cpus(4, workers=2), 100, Parts(60, 20, 20), epochs=5, samples=50)
    stage = wide.plan_trainings("train", 12, 0)
    assert (stage.at_once, stage.cost_each) == (2, 5 * (3 * 60 + 20) / 4)


@pytest.mark.parametrize("workers", [1, 2])
def test_pace_of_earlier_commands_is_that_of_the_latest_that_trained(
    tmp_path: Path, workers: int
) -> None:
    layout = lay_out_cpus(4, workers=workers)
    sizes = StageSizes(layout, 100, Parts(60, 20, 20), epochs=5, samples=50)
    assert sizes.recall_pace(tmp_path) is None
    for number, seconds in enumerate(((90.0,), (1.0, 3.0), ())):
        lines = [{"event": "training done", "elapsed_s": 9.0, "seconds": one} for one in seconds]
        lines += [{"event": "training failed", "elapsed_s": 9.0, "seconds": 70.0}]
        lines += [{"elapsed_s": 9.0}, {"event": "training done", "elapsed_s": 9.0}]
        text = "".join(f"{json.dumps(line)}\n" for line in lines)
        (tmp_path / f"events-{number}.jsonl").write_text(text)
    # 2 s for five epochs of 60 images trained on, at three passes each, and 20 looked at.
    assert sizes.recall_pace(tmp_path) == pytest.approx(2.0 * workers / (5 * (3 * 60 + 20)))
    stage = sizes.plan_trainings("train", 12, 0)
    assert stage.cost_each * sizes.recall_pace(tmp_path) == pytest.approx(2.0 / (4 // workers))


def test_everything_that_follows_the_reading_is_foreseen(tmp_path: Path) -> None:
    config = configure(tmp_path, seeds=3, training={"epochs": 4})
    stages = foresee_stages(config, config.phantom, lay_out_cpus(2))
    named = {stage.name: stage for stage in stages if stage.total}
    # Four arms, of which `original` explains, too; 48 images, of which 70 % are for training.
    assert named["train"].total == 3 * 4
    assert named["train"].cost_each == pytest.approx(4 * (3 * 33.6 + 9.6) / 2)
    assert named["explain"].total == 3 * 48
    assert stages[-1] == foresee_end()
    plain = configure(tmp_path, arms=["original"])
    assert [stage.total for stage in foresee_stages(plain, plain.phantom, lay_out_cpus(2))] == [
        2,
        0,
    ]


def test_worker_times_a_step_of_each_model_unless_something_is_wrong_with_them() -> None:
    time_steps = _time_steps._function
    slot = lay_out_cpus(2).slot
    found = time_steps([], ("test_byobnet", "test_efficientnet"), slot, {}, ImageSize.square(32), 8)
    assert 0 < found < 1
    assert (
        time_steps(["It cannot be built."], ("nothing",), slot, {}, ImageSize.square(32), 8) is None
    )


def test_stage_without_units_is_no_work() -> None:
    assert Stage("conclude", "", 0, 0.0).left == 0
