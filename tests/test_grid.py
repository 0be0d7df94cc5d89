"""The grid: each trained classifier on what the other arms show of the test images."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from planted import open_small_world
from sklearn.metrics import roc_auc_score

from osteo_ray.arms.registry import ARMS
from osteo_ray.data.image_size import ImageSize
from osteo_ray.experiment.analysis import Analysis
from osteo_ray.experiment.comparison import analyse
from osteo_ray.experiment.grid import VIEW, list_grid, list_pending, read_grid
from osteo_ray.experiment.grid_results import _say
from osteo_ray.experiment.keep_masks import read_keep_masks
from osteo_ray.experiment.trials import WEIGHTS, Experiment, Trial, list_arms
from osteo_ray.models.classifier import load_classifier
from osteo_ray.models.training import Worker
from osteo_ray.pipeline.compare.conclusion import list_groups
from osteo_ray.pipeline.compare.grid_row import predict_views
from osteo_ray.pipeline.compare.in_process import run_in_process
from osteo_ray.report.grid_figure import draw_views
from osteo_ray.statistics.inference import Estimate, StandardError

TRAINED = ("original", "lime", "random_mask", "silhouette", "permuted_labels", "random_trained")
VIEWS = ("original", "lime", "random_mask", "complement")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Experiment, np.ndarray]:
    """A small world, run, and its grid predicted."""
    experiment, pixels = open_small_world(tmp_path_factory.mktemp("grid"), TRAINED)
    run_in_process(experiment, pixels)
    for seed in experiment.seeds:
        rows = [
            row for row in list_grid(experiment, list_arms(experiment)) if row.trial.seed == seed
        ]
        predict_views(rows, experiment, pixels, Worker(torch.device("cpu")))
    return experiment, pixels


def analyse_world(experiment: Experiment) -> tuple[pd.DataFrame, dict[str, Any]]:
    trials = list_arms(experiment)
    predictions = pa.concat_tables(
        pq.read_table(experiment.path_of(trial) / "predictions.parquet") for trial in trials
    )
    grid = read_grid(experiment, list_grid(experiment, trials))
    analysis = Analysis.of(experiment)
    return analyse(predictions, list_groups(experiment), analysis, grid=grid)


def test_views_are_shown_to_all_that_see_images(found: tuple[Experiment, np.ndarray]) -> None:
    experiment, _ = found
    rows = list_grid(experiment, list_arms(experiment))
    views = {row.trial.arm: row.views for row in rows if row.trial.seed == rows[0].trial.seed}
    assert views == {
        "original": ("lime", "random_mask", "complement"),
        "lime": ("original", "random_mask", "complement"),
        "random_mask": ("original", "lime", "complement"),
        "random_trained": VIEWS,
    }
    assert list_pending(experiment, rows) == []


def test_without_masks_there_is_no_grid(found: tuple[Experiment, np.ndarray]) -> None:
    experiment, _ = found
    experiment = open_small_world(experiment.run.root, ("original", "permuted_labels"))[0]
    assert list_grid(experiment, list_arms(experiment)) == []


def test_views_whose_masks_are_not_made_of_all_images_are_left_out(
    found: tuple[Experiment, np.ndarray],
) -> None:
    # Of training images, out-of-fold masks come from other models than the view `lime` asks for.
    root = found[0].run.root
    for arms, expected in (
        (("original", "lime_crossfit"), set()),
        (("original", "lime_crossfit", "silhouette"), {*VIEWS}),
    ):
        experiment = open_small_world(root, arms)[0]
        rows = list_grid(experiment, list_arms(experiment))
        assert {view for row in rows for view in row.views} == expected


def test_predictions_are_those_of_the_classifier_on_that_view(
    found: tuple[Experiment, np.ndarray],
) -> None:
    experiment, pixels = found
    seed = next(iter(experiment.seeds))
    table = read_grid(experiment, list_grid(experiment, list_arms(experiment)))
    assert table is not None
    frame = table.to_pandas()
    assert set(frame["split"]) == {"test"}
    test = experiment.splits[seed] == "test"
    background = np.zeros_like(pixels[test])
    for arm in ("original", "lime", "random_trained"):
        path = experiment.path_of(Trial("stripe_net", seed, arm)) / WEIGHTS
        classifier = load_classifier(
            path, "stripe_net", n_classes=2, image_size=ImageSize.square(32)
        ).eval()
        for view in set(VIEWS) - {arm}:
            masks = read_keep_masks(experiment, Trial("stripe_net", seed, view))
            kept = np.ones_like(background, bool) if masks is None else masks.masks[test]
            shown = np.where(kept, pixels[test], background)
            with torch.inference_mode():
                logits = classifier(torch.from_numpy(shown)[:, None].float() / 255)
            expected = torch.softmax(logits.double(), 1).numpy()
            part = frame[
                (frame["seed"] == seed) & (frame["arm"] == arm) & (frame[VIEW] == view)
            ].set_index("image_id")
            part = part.loc[experiment.image_ids[test]]
            np.testing.assert_allclose(part["p_upright"], expected[:, 1], atol=1e-6)
            assert part["label"].tolist() == experiment.labels[test].tolist()


def test_cells_and_deployable_gain_by_hand(found: tuple[Experiment, np.ndarray]) -> None:
    experiment, _ = found
    table = read_grid(experiment, list_grid(experiment, list_arms(experiment)))
    assert table is not None
    frame = table.to_pandas()
    results, comparison = analyse_world(experiment)
    cells = {(one["arm"], one["view"]): one for one in comparison["grid"]["cells"]}
    assert list(cells)[:2] == [("original", "original"), ("original", "lime")]
    assert set(cells) == {
        (arm, view) for arm in ("original", "lime", "random_mask") for view in VIEWS
    } | {("random_trained", view) for view in VIEWS}

    def measure(arm: str, view: str) -> list[float]:
        if arm == view:
            own = results[(results["arm"] == arm) & (results["split"] == "test")]
            return list(own.sort_values("seed")["auc"])
        part = frame[(frame["arm"] == arm) & (frame[VIEW] == view)]
        return [
            roc_auc_score(of_seed["label"] == "upright", of_seed["p_upright"])
            for _, of_seed in part.groupby("seed")
        ]

    for (arm, view), cell in cells.items():
        assert cell["mean"] == pytest.approx(np.mean(measure(arm, view))), (arm, view)
        assert cell["low"] <= cell["mean"] <= cell["high"]
        assert cell["n_seeds"] == 2
    (gain,) = comparison["grid"]["deployable"]
    difference = np.subtract(measure("lime", "original"), measure("original", "original"))
    assert gain["difference"] == pytest.approx(difference.mean())
    assert gain["arm"] == "lime"
    (verdict,) = comparison["verdicts"]
    assert verdict["remarks"][-1] == gain["words"]
    assert f"AUC {difference.mean():+.3f} over 2 seeds" in gain["words"]


@pytest.mark.parametrize(
    ("mean", "error", "words"),
    [
        (0.10, 0.01, "is better as well: the gain can be deployed"),
        (-0.10, 0.01, "is worse, so each new image would need a mask"),
        (0.00, 0.01, "makes no difference that matters"),
        (0.02, 0.05, "It is open whether lime is better without a mask at test time"),
    ],
)
def test_deployable_gain_in_words(mean: float, error: float, words: str) -> None:
    found = Estimate(mean, 10, (StandardError("corrected t", error, 9),))
    assert words in _say(found, found.p_other_than(), found.p_within(0.05), 0.05, "lime")


def test_row_without_weights_is_left_out(tmp_path: Path) -> None:
    experiment, pixels = open_small_world(tmp_path, ("original", "lime"))
    run_in_process(experiment, pixels)
    rows = list_grid(experiment, list_arms(experiment))
    assert len(list_pending(experiment, rows)) == len(rows) == 4
    (experiment.path_of(rows[0].trial) / WEIGHTS).unlink()
    assert list_pending(experiment, rows) == rows[1:]
    assert read_grid(experiment, rows) is None


def test_views_are_arms_that_show_images() -> None:
    assert {name for name, arm in ARMS.items() if arm.in_grid} == {*VIEWS, "given_region"}


def test_figure_shows_each_mean() -> None:
    cells = [
        {"model": "m", "arm": arm, "view": view, "mean": mean}
        for arm, view, mean in (("original", "original", 0.71), ("lime", "original", 0.52))
    ]
    assert draw_views([], higher_is_better=True) is None
    figure = draw_views(cells, higher_is_better=True)
    assert figure is not None
    texts = {text.get_text() for axes in figure.axes for text in axes.texts}
    assert texts == {"0.710", "0.520"}
