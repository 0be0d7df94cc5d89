"""An external cohort: what the trained classifiers of a run predict of images from elsewhere."""

import io
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from planted import open_small_world
from rich.console import Console
from sklearn.metrics import roc_auc_score
from tiny_runs import list_times

from osteo_ray.arms import registry
from osteo_ray.base.damage import DamagedError
from osteo_ray.base.errors import InputError
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import (
    IMAGES,
    MASKS,
    PIXELS,
    REJECTS,
    read_parts,
    write_json,
    write_pixels,
    write_table,
)
from osteo_ray.commands.compare_tables import show_comparison
from osteo_ray.commands.main import main
from osteo_ray.commands.submittable import SUBMITTABLE
from osteo_ray.config.compare import CompareConfig
from osteo_ray.data.decoding.resizing import resize_image
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.masks import unpack_mask
from osteo_ray.data.phantoms.sets import write_phantoms
from osteo_ray.data.settings import PhantomSettings
from osteo_ray.data.sources.kinds import open_source
from osteo_ray.experiment import external_results
from osteo_ray.experiment.analysis import Analysis
from osteo_ray.experiment.comparison import analyse
from osteo_ray.experiment.dataset import read_pixels
from osteo_ray.experiment.external import (
    Cohort,
    CohortRun,
    ExternalExperiment,
    list_external,
    read_cohort,
    read_shown_masks,
    takes_part,
)
from osteo_ray.experiment.external_results import judge_external, match_verdicts
from osteo_ray.experiment.grid import VIEW, list_views, read_grid
from osteo_ray.experiment.judging import judge_predictions
from osteo_ray.experiment.keep_masks import read_keep_masks
from osteo_ray.experiment.trials import WEIGHTS, Experiment, Trial, list_arms
from osteo_ray.models.classifier import load_classifier
from osteo_ray.pipeline.compare.cohort import describe_cohort, list_cohort, open_cohort
from osteo_ray.pipeline.compare.conclusion import list_groups
from osteo_ray.pipeline.compare.external_work import plan_external
from osteo_ray.pipeline.compare.in_process import predict_in_process, run_in_process
from osteo_ray.pipeline.ingest import copy_search, reading
from osteo_ray.pipeline.validate.planted_worlds import WORLDS
from osteo_ray.pipeline.validate.striped_images import draw_set
from osteo_ray.statistics.predictions import encode_predictions
from osteo_ray.statistics.sizes import Sizes

ARMS = (
    *("original", "lime", "random_mask", "silhouette", "permuted_labels", "random_trained"),
    *("lime_crossfit", "mean_mask", "other_image_mask"),
)
MODEL = "stripe_net"
N_COHORT = 30
World = tuple[ExternalExperiment, np.ndarray]


def make_cohort(experiment: Experiment) -> World:
    """Draw other images of the same classes, of which two each show one radiograph."""
    drawing = replace(WORLDS["distraction"].drawing, n_images=N_COHORT, n_copies=2)
    drawn = draw_set(drawing, seed=99)
    ids = [f"other-{number:02}" for number in range(N_COHORT)]
    run = CohortRun.of(experiment.run, ["/elsewhere/clinic", "0"], ImageSize.square(32), 8)
    table = {"image_id": ids, "digest": ids, "pixels": [one.tobytes() for one in drawn.images]}
    write_pixels(run.pixels / "part-0.parquet", pa.table(table, schema=PIXELS))
    images = pd.DataFrame(
        {"image_id": ids, "path": ids, "label": drawn.labels, "group": drawn.groups, "digest": ids}
    )
    dropped = pd.DataFrame({"path": ["a.png"], "reason": ["It has the pixels of b.png."]})
    cohort = Cohort(run, "/elsewhere/clinic", images, dropped, 3)
    return ExternalExperiment.of(experiment, cohort), drawn.images


Judged = tuple[pa.Table, dict[str, Any], dict[str, Any]]
ALPHA = 0.04


@pytest.fixture(scope="module")
def predicted(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A small world, run, whose classifiers have predicted a cohort."""
    experiment, pixels = open_small_world(tmp_path_factory.mktemp("external"), ARMS)
    run_in_process(experiment, pixels)
    external, others = make_cohort(experiment)
    predict_in_process(external, others)
    return external, others


def analyse_run(experiment: Experiment) -> tuple[pa.Table, dict[str, Any]]:
    predictions = pa.concat_tables(
        pq.read_table(experiment.path_of(trial) / "predictions.parquet")
        for trial in list_arms(experiment)
    )
    return predictions, analyse(predictions, list_groups(experiment), Analysis.of(experiment))[1]


@pytest.fixture(scope="module")
def judged(predicted: World) -> Judged:
    """The predictions and the comparison of that run, and what its cohort shows."""
    external, _ = predicted
    predictions, comparison = analyse_run(external.trained)
    analysis = replace(Analysis.of(external.trained), alpha=ALPHA)
    return predictions, comparison, judge_external(external, predictions, analysis, comparison)


# What is predicted


def test_every_classifier_predicts_every_view(predicted: World) -> None:
    external, _ = predicted
    arms = list_arms(external)
    views = {row.trial.arm: row.views for row in list_external(external, arms)}
    others = ("original", "lime", "random_mask", "complement")
    assert views.pop("silhouette") == ("silhouette",)
    assert views == {
        arm: tuple(dict.fromkeys([arm, *others]))
        for arm in ARMS
        if arm not in ("silhouette", "permuted_labels")
    }
    without = replace(external, grid=False)
    assert {row.views for row in list_external(without, [arms[1], arms[0]])} == {
        ("lime", "original"),
        ("original",),
    }
    work = plan_external(external)
    assert (work.rows, work.left_out, work.divisions, work.explanations) == ([], (), [], {})


def test_masks_that_are_lost_are_made_again_though_no_prediction_needs_them(
    predicted: World,
) -> None:
    external, pixels = predicted
    before = read_lime(external, external.first_seed)
    (folder,) = (external.run.masks / MODEL / f"seed-{external.first_seed}").glob("original-*")
    shutil.rmtree(folder)
    work = plan_external(external)
    assert [str(job.teacher) for job in work.explanations] == [
        str(Trial(MODEL, external.first_seed, "original"))
    ]
    assert work.rows == []
    predict_in_process(external, pixels)
    after = read_lime(external, external.first_seed)
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[image], after[image]) for image in before)


def read_lime(external: ExternalExperiment, seed: int) -> dict[str, np.ndarray]:
    """The LIME masks of the cohort, as they lie in its folder."""
    (folder,) = (external.run.masks / MODEL / f"seed-{seed}").glob("original-*")
    table = read_parts(folder, MASKS).to_pandas()
    kept = table[(table["kind"] == "lime") & table["error"].isna()]
    return {
        row["image_id"]: unpack_mask(row["keep_mask"], ImageSize.square(32))
        for row in kept.to_dict("records")
    }


def test_predictions_are_those_of_the_classifier_on_that_view(predicted: World) -> None:
    external, pixels = predicted
    seed = external.first_seed
    table = read_grid(external, list_external(external, list_arms(external)))
    assert table is not None
    frame = table.to_pandas()
    assert set(frame["split"]) == {"test"}
    lime = read_lime(external, seed)
    usable = np.array(
        [image_id in lime and 0 < lime[image_id].sum() < 32**2 for image_id in external.image_ids]
    )
    assert usable.sum() > 10
    own = read_keep_masks(external.trained, Trial(MODEL, seed, "mean_mask"))
    assert own is not None
    everyone = np.ones(pixels.shape, bool)
    explained = np.array([lime.get(image_id, everyone[0]) for image_id in external.image_ids])
    shown = {
        "original": everyone,
        "lime": explained,
        "lime_crossfit": explained,
        "random_trained": explained,
        "complement": ~explained,
        "mean_mask": np.broadcast_to(own.masks[0], pixels.shape),
    }
    for arm, view in (
        *(("original", "original"), ("original", "lime"), ("lime", "lime"), ("lime", "original")),
        *(("lime", "complement"), ("lime_crossfit", "lime_crossfit"), ("mean_mask", "mean_mask")),
        ("random_trained", "random_trained"),
    ):
        path = external.trained.path_of(Trial(MODEL, seed, arm)) / WEIGHTS
        classifier = load_classifier(
            path, MODEL, n_classes=2, image_size=ImageSize.square(32)
        ).eval()
        images = torch.from_numpy(np.where(shown[view], pixels, 0))[:, None].float() / 255
        with torch.inference_mode():
            expected = torch.softmax(classifier(images).double(), 1).numpy()
        part = frame[(frame["seed"] == seed) & (frame["arm"] == arm) & (frame[VIEW] == view)]
        part = part.set_index("image_id").loc[external.image_ids]
        found = part["p_upright"].to_numpy()
        np.testing.assert_allclose(found[usable], expected[usable, 1], atol=1e-6)
        assert part["label"].tolist() == external.labels.tolist()


def test_masks_for_all_images_are_made_from_training_images(predicted: World) -> None:
    external, _ = predicted
    trial = Trial(MODEL, external.first_seed, "mean_mask")
    masks, own = read_shown_masks(external, trial), read_keep_masks(external.trained, trial)
    assert masks is not None
    assert own is not None
    train = external.trained.splits[trial.seed] == "train"
    assert masks.masks.shape == (N_COHORT, 32, 32)
    assert (masks.masks[:] == own.masks[train][0]).all()
    assert read_shown_masks(external, Trial(MODEL, trial.seed, "original")) is None


def test_other_images_lend_their_masks_within_the_cohort(predicted: World) -> None:
    external, _ = predicted
    seed = external.first_seed
    lime, other = (
        read_shown_masks(external, Trial(MODEL, seed, arm)) for arm in ("lime", "other_image_mask")
    )
    assert lime is not None
    assert other is not None
    assert sorted(map(bytes, lime.masks)) == sorted(map(bytes, other.masks))


def test_a_cohort_changes_no_key_and_no_file_of_the_run(predicted: World) -> None:
    external, others = predicted
    experiment = external.trained
    for trial in list_arms(experiment):
        assert external.path_of(trial) == experiment.path_of(trial)
    before = list_times(experiment.run.root)
    predict_in_process(external, others)  # nothing is left to do
    assert list_times(experiment.run.root) == before
    root = Path(str(external.run.root))
    assert root.parent == Path(str(experiment.run.root)) / "cohort"
    inside = {path.relative_to(root).parts[0] for path in before if path.is_relative_to(root)}
    assert inside == {"pixels", "masks", "grid"}


def test_a_cohort_is_no_part_of_the_identity_or_the_plan_of_a_run(tmp_path: Path) -> None:
    plain, tested = CompareConfig(), CompareConfig(test_data=str(tmp_path))
    assert tested.test_data == str(tmp_path)
    assert tested.identity() == plain.identity()
    assert tested.plan_hash() == plain.plan_hash()


# What it shows


def test_contrasts_and_verdict_are_of_the_cohort(predicted: World, judged: Judged) -> None:
    external, _ = predicted
    analysis = replace(Analysis.of(external.trained), alpha=ALPHA)
    predictions, _, found = judged
    assert (found["name"], found["n_images"], found["n_groups"]) == ("clinic", 30, 15)
    assert (found["n_rejects"], found["alpha"]) == (3, ALPHA)
    assert found["dropped"] == [{"path": "a.png", "reason": "It has the pixels of b.png."}]
    table = read_grid(external, list_external(external, list_arms(external)))
    assert table is not None
    frame = table.to_pandas()

    def measure(arm: str, view: str) -> np.ndarray:
        part = frame[(frame["arm"] == arm) & (frame[VIEW] == view)]
        scores = [
            roc_auc_score(one["label"] == "upright", one["p_upright"])
            for _, one in part.groupby("seed")
        ]
        return np.array(scores)

    contrasts = {(row["arm"], row["baseline"]): row for row in found["contrasts"]}
    assert len(contrasts) == len(found["contrasts"])
    assert {row["inference"] for row in found["contrasts"]} == {"two-way"}
    assert not any("permuted_labels" in pair for pair in contrasts)
    for arm, baseline in (("lime_crossfit", "original"), ("lime_crossfit", "silhouette")):
        expected = measure(arm, arm) - measure(baseline, baseline)
        assert contrasts[arm, baseline]["difference"] == pytest.approx(expected.mean())
    (gain,) = found["deployable"]
    whole = measure("lime_crossfit", "original") - measure("original", "original")
    assert gain["difference"] == pytest.approx(whole.mean())
    cells = {(one["arm"], one["view"]): one["mean"] for one in found["cells"]}
    assert cells["lime", "complement"] == pytest.approx(measure("lime", "complement").mean())
    # The rule itself, on the predictions of the cohort as if they were tables of anybody.
    own = frame[frame["arm"] == frame[VIEW]].drop(columns=VIEW)
    validation = predictions.to_pandas().query("split == 'validation' and arm in @own.arm")
    both = pa.Table.from_pandas(pd.concat([validation, own]), preserve_index=False)
    arms = tuple(arm for arm in analysis.arms if arm != "permuted_labels")
    sizes = Sizes(n_test=30, n_train=np.inf)
    again = judge_predictions(
        encode_predictions(both, analysis.classes, analysis.positive_class),
        list_groups(external),
        replace(analysis, arms=arms, sizes=sizes),
    )
    assert again.evidence[MODEL].design.methods == ("two-way",)
    assert "balanced_accuracy" in again.evidence[MODEL].metrics  # by the run's thresholds
    assert found["verdict"]["verdict"] == again.overall.verdict
    assert found["verdict"]["reason"] == again.overall.reason
    one = again.evidence[MODEL].estimate({"lime_crossfit": 1, "original": -1})
    assert one is not None
    row = contrasts["lime_crossfit", "original"]
    assert (row["decisive_low"], row["decisive_high"]) == pytest.approx(one.interval(ALPHA))


def test_thresholds_are_set_by_the_validation_images_of_the_run(
    predicted: World, judged: Judged, monkeypatch: pytest.MonkeyPatch
) -> None:
    external, _ = predicted
    predictions, comparison, _ = judged
    seen: list[pa.Table] = []

    def spy(table: pa.Table, *rest: Any, **named: Any) -> Any:
        seen.append(table)
        return analyse(table, *rest, **named)

    monkeypatch.setattr(external_results, "analyse", spy)
    judge_external(external, predictions, Analysis.of(external.trained), comparison)
    frame = seen[0].to_pandas()
    test = frame[frame["split"] == "test"]
    assert set(test["image_id"]) == set(external.image_ids)
    own = predictions.to_pandas().query("split == 'validation' and arm != 'permuted_labels'")
    columns = frame.columns.tolist()
    pd.testing.assert_frame_equal(
        frame[frame["split"] == "validation"].reset_index(drop=True),
        own[columns].reset_index(drop=True),
    )


def test_copies_within_the_cohort_are_resampled_together(predicted: World, judged: Judged) -> None:
    external, _ = predicted
    predictions, comparison, found = judged
    alone = replace(external, groups=np.arange(N_COHORT))
    analysis = replace(Analysis.of(external.trained), alpha=ALPHA)
    other = judge_external(alone, predictions, analysis, comparison)
    widths = [
        np.array([cell["high"] - cell["low"] for cell in one["cells"]]) for one in (found, other)
    ]
    assert not np.allclose(*widths)


def make_comparison(verdict: str, difference: float) -> dict[str, Any]:
    contrast = {
        "family": "primary", "metric": "auc", "model": "m", "arm": "lime", "baseline": "original",
        "difference": difference, "decisive_low": difference - 0.02,
        "decisive_high": difference + 0.02,
    }  # fmt: skip
    return {
        "metric": "auc", "alpha": 0.05, "judged": "lime", "baseline": "original",
        "contrasts": [contrast], "verdict": {"verdict": verdict},
        "verdicts": [{"model": "m", "verdict": verdict}],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("inside", "outside", "words"),
    [
        (
            "real gain", "real gain",
            "m: the verdict on clinic is that of the run, real gain (difference +0.010, 95 % "
            "interval -0.010 to +0.030).",
        ),
        (
            "real gain", "real loss",
            "m: the verdicts disagree. On the run's own test images it is real gain (difference "
            "+0.050, 95 % interval +0.030 to +0.070); on clinic it is real loss (difference "
            "+0.010, 95 % interval -0.010 to +0.030). So what holds for images like the run's "
            "own does not hold there.",
        ),
        ("real gain", "inconclusive", "So it is not confirmed there, nor is it contradicted."),
        ("inconclusive", "real gain", "So only the external images settle it."),
        ("inconclusive", "nothing learned", "Neither settles anything."),
    ],
)  # fmt: skip
def test_disagreement_in_words(inside: str, outside: str, words: str) -> None:
    internal, external = make_comparison(inside, 0.05), make_comparison(outside, 0.01)
    (found,) = match_verdicts(internal, external, "clinic")
    assert found["agree"] == (inside == outside)
    assert (found["model"], found["internal"], found["external"]) == ("m", inside, outside)
    assert found["words"].endswith(words)


def test_several_models_have_a_line_for_all_of_them() -> None:
    internal, external = make_comparison("real gain", 0.05), make_comparison("real gain", 0.05)
    for one, second in ((internal, "equivalent"), (external, "real loss")):
        one["verdicts"].append({"model": "n", "verdict": second})
    found = match_verdicts(internal, external, "clinic")
    assert [(one["model"], one["agree"]) for one in found] == [
        (None, True), ("m", True), ("n", False)
    ]  # fmt: skip
    assert found[0]["words"] == (
        "All models together: the verdict on clinic is that of the run, real gain."
    )


def test_terminal_shows_the_cohort(judged: Judged) -> None:
    _, comparison, found = judged
    screen = io.StringIO()
    show_comparison(Console(file=screen, width=200), {**comparison, "external": found})
    text = screen.getvalue()
    assert "difference in AUC on the 30 images of clinic" in text
    dropped = "1 image was dropped from clinic, the first a.png: It has the pixels of b.png."
    assert dropped in text
    assert f"Verdict on clinic: {found['verdict']['verdict']}" in text
    assert found["agreement"][0]["words"] in text


def test_classifiers_without_weights_are_left_out(tmp_path: Path) -> None:
    experiment, pixels = open_small_world(tmp_path, ("original", "lime", "random_mask"))
    run_in_process(experiment, pixels)
    external, others = make_cohort(experiment)
    second = Trial(MODEL, external.first_seed, "lime")
    (experiment.path_of(second) / WEIGHTS).unlink()
    assert plan_external(external).left_out == (second,)
    # Without the weights of the first model, the others of its seed have no masks.
    first = Trial(MODEL, external.first_seed, "original")
    (experiment.path_of(first) / WEIGHTS).unlink()
    work = plan_external(external)
    assert {(trial.seed, trial.arm) for trial in work.left_out} == {
        (external.first_seed, arm) for arm in experiment.arms
    }
    assert {job.teacher.seed for job in work.explanations} == {external.first_seed + 1}
    predictions, comparison = analyse_run(experiment)
    with pytest.raises(InputError, match="weights of all of them were removed"):
        judge_external(external, predictions, Analysis.of(experiment), comparison)
    predict_in_process(external, others)
    found = judge_external(external, predictions, Analysis.of(experiment), comparison)
    assert found["verdict"]["verdict"] == "inconclusive"


# How it is read


class _Ref:
    """Stands for a reference into Ray's object store."""

    def __init__(self, value: object) -> None:
        self.value = value


@pytest.fixture
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read images and look for copies in this process."""

    def read(rows: pa.Table, per_block: int, decode: Any) -> Iterator[pa.Table]:
        yield decode({name: np.array(rows[name].to_pylist()) for name in rows.column_names})

    monkeypatch.setattr(reading, "_read", read)
    store = SimpleNamespace(put=_Ref, get=lambda reference: reference.value)
    monkeypatch.setattr(copy_search, "ray", store)


def draw_phantoms(folder: Path, seed: int, n_images: int = 12) -> Path:
    settings = PhantomSettings(n_images=n_images, size_px=128, seed=seed, duplicate_share=0)
    write_phantoms(folder, settings)
    return folder / "images"


def list_paths(images: Path) -> list[str]:
    """The images below a folder; of a set of 12, the first 6 are normal."""
    return sorted(str(path.relative_to(images)) for path in images.rglob("*.png"))


def list_patients(images: Path, patients: dict[str, str]) -> Path:
    """Write a manifest beside the images, with the patients of some of them."""
    rows = [
        {"path": str(path.relative_to(images)), "label": path.parent.name}
        for path in sorted(images.rglob("*.*g"))
    ]
    for row in rows:
        row["patient_id"] = patients.get(row["path"], "")
    pd.DataFrame(rows).to_csv(images / "manifest.csv", index=False)
    return images / "manifest.csv"


def read_sets(tmp_path: Path, known: Path, cohort: Path) -> Cohort:
    config = CompareConfig(data=str(known), test_data=str(cohort), image_size=32)
    source = open_source(str(known))
    listed = list_cohort(config, source)
    assert listed is not None
    return open_cohort(Run(tmp_path / "run"), config, listed, source)


def test_copies_and_patients_of_the_run_are_dropped_and_named(
    without_ray: None, tmp_path: Path
) -> None:
    known, cohort = draw_phantoms(tmp_path / "known", 1), draw_phantoms(tmp_path / "other", 2)
    theirs, healthy, ill = list_paths(known), list_paths(cohort / "normal"), list_paths(cohort)[6:]
    healthy = [f"normal/{name}" for name in healthy]
    shutil.copy(known / theirs[0], cohort / "normal" / "exact.png")
    with Image.open(known / theirs[6]) as image:  # the same radiograph, darker and a JPEG
        image.point(lambda gray: int(gray * 0.8)).save(cohort / "osteoporosis" / "near.jpg")
    shutil.copy(cohort / healthy[0], cohort / "osteoporosis" / "in-two-classes.png")
    shutil.copy(known / theirs[1], cohort / "normal" / "of-6.png")
    known_manifest = list_patients(known, {theirs[7]: "5", theirs[8]: "7"})
    # Patient 5 is in the run; of patient 6, one image is a copy from there; nobody knows 8.
    patients = {ill[0]: "5", ill[1]: "5", "normal/of-6.png": "6", healthy[1]: "6", healthy[2]: "8"}
    manifest = list_patients(cohort, patients)
    found = read_sets(tmp_path, known_manifest, manifest)
    reasons = dict(zip(found.dropped["path"], found.dropped["reason"], strict=True))
    assert reasons == {
        "normal/exact.png": f"It has the pixels of {theirs[0]} of the run.",
        "osteoporosis/near.jpg": f"It is a copy of {theirs[6]} of the run.",
        ill[0]: f"Its patient is also that of {theirs[7]} of the run.",
        ill[1]: f"Its patient is also that of {theirs[7]} of the run.",
        "normal/of-6.png": f"It has the pixels of {theirs[1]} of the run.",
        healthy[1]: f"It belongs with {theirs[1]} of the run, by way of copies and patients.",
        healthy[0]: "A copy of it stands in another class.",
        "osteoporosis/in-two-classes.png": "A copy of it stands in another class.",
    }
    kept = set(found.images["path"])
    assert kept == {*healthy, *ill} - set(reasons)
    assert found.images.columns.tolist() == IMAGES.names
    again = read_cohort(found.run)
    pd.testing.assert_frame_equal(again.images, found.images)
    lines = describe_cohort(found)
    assert lines[0].endswith(f"{len(kept)} of {len(kept) + 8} images are used")
    assert f"dropped {ill[0]}: Its patient is also that of {theirs[7]} of the run." in lines
    pixels = read_pixels(found.run, found.images["image_id"].tolist(), ImageSize.square(32))
    with Image.open(cohort / found.images["path"][0]) as image:
        expected = resize_image(np.array(image.convert("L")), ImageSize.square(32))
    assert (pixels[0] == expected).all()
    names = sorted(one.name for one in Path(str(found.run.root)).iterdir())
    assert [name for name in names if not name.startswith(".")] == [
        *("cohort.json", "dropped.parquet", "images.parquet", "pixels", "rejects.parquet", "spare")
    ]


def test_record_of_a_cohort_of_another_form_is_damaged(tmp_path: Path) -> None:
    run = CohortRun.of(Run(tmp_path), ["clinic", "0"], ImageSize.square(32), 8)
    write_table(run.images, IMAGES.empty_table())
    write_table(run.dropped, REJECTS.empty_table())
    write_table(run.rejects, REJECTS.empty_table())
    write_json(run.record, {"source": "clinic", "fingerprint": "0"})
    assert read_cohort(run).source == "clinic"
    for other in ([], {}, {"source": 5}):
        write_json(run.record, other)
        with pytest.raises(DamagedError, match=r"cohort\.json.*it holds something else"):
            read_cohort(run)
    write_json(run.record, {"source": "clinic"})
    pq.write_table(pa.table({"path": ["a.png"]}), run.dropped)
    with pytest.raises(InputError, match=r"tables of version.*dropped\.parquet"):
        read_cohort(run)


def test_many_dropped_images_are_counted() -> None:
    dropped = pd.DataFrame({"path": [f"{n}.png" for n in range(12)], "reason": ["Why."] * 12})
    run = CohortRun.of(Run(Path("/run")), ["clinic", "0"], ImageSize.square(32), 8)
    lines = describe_cohort(Cohort(run, "clinic", pd.DataFrame(index=range(3)), dropped, 0))
    assert lines[0] == "external cohort clinic: 3 of 15 images are used"
    assert lines[1] == "dropped 0.png: Why."
    assert lines[-1] == f"… and 2 more, listed in {run.dropped}"
    assert len(lines) == 12


def test_cohort_of_copies_alone_is_refused(without_ray: None, tmp_path: Path) -> None:
    known, cohort = draw_phantoms(tmp_path / "known", 1), draw_phantoms(tmp_path / "other", 2)
    shutil.rmtree(cohort / "normal")
    shutil.copytree(known / "normal", cohort / "normal")
    with pytest.raises(InputError) as caught:
        read_sets(tmp_path, known, cohort)
    first = min(path.name for path in (known / "normal").iterdir())
    assert str(caught.value) == (
        f"Expected images of every class in --test-data {cohort} that the run has not seen, but "
        f"none of normal is left: 6 of 12 images had to be dropped; the first: normal/{first} (It "
        f"has the pixels of normal/{first} of the run.). Give a cohort that shares no radiographs "
        "and no patients with --data."
    )
    assert not list((tmp_path / "run" / "cohort").rglob("*.parquet"))


def test_cohort_that_cannot_be_read_names_its_flag(without_ray: None, tmp_path: Path) -> None:
    known, cohort = draw_phantoms(tmp_path / "known", 1), draw_phantoms(tmp_path / "other", 2)
    for path in cohort.rglob("*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(InputError, match="Check that --test-data names the right place"):
        read_sets(tmp_path, known, cohort)


def refuse(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Compare with bad input, and return what is printed on it."""
    assert main(["compare", "--models", "test_byobnet", "--weights", "none", *words]) == 2
    text = capsys.readouterr().err
    assert "Traceback" not in text
    return " ".join(text.split())


def test_bad_cohorts_are_refused_before_pixels_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def make(name: str, *classes: str) -> str:
        for label in classes:
            (tmp_path / name / label).mkdir(parents=True)
            (tmp_path / name / label / "1.png").write_bytes(b"never read")
        return str(tmp_path / name)

    out = ("--out", str(tmp_path / "run"))
    expected = "Expected --test-data to have the classes of --data, normal, osteoporosis, but "
    ending = "Name its classes as in --data, and leave out images of other classes."
    other = make("other", "normal", "worn")
    said = f"{expected}{other} lacks osteoporosis and also has worn. {ending}"
    assert said in refuse(capsys, "--test-data", other, *out)
    more = make("more", "normal", "osteoporosis", "worn")
    said = f"{expected}{more} also has worn. {ending}"
    assert said in refuse(capsys, "--test-data", more, *out)
    data = make("data", "a", "b", "c")
    fewer = make("fewer", "a", "b")
    said = f"the classes of --data, a, b, c, but {fewer} lacks c. {ending}"
    assert said in refuse(capsys, "--data", data, "--test-data", fewer, *out)
    single = make("single", "normal")
    said = f"Expected at least two class folders with images in {single}, but found one: normal."
    assert said in refuse(capsys, "--test-data", single, *out)
    said = "Expected --test-data to be a folder with a subfolder per class"
    assert said in refuse(capsys, "--test-data", str(tmp_path / "nowhere"), *out)
    said = "Expected test_data to be other images than data"
    assert said in refuse(capsys, "--data", more, "--test-data", more, *out)
    said = "Expected test_data to be images that exist, but got `phantom`."
    assert said in refuse(capsys, "--test-data", "phantom", *out)
    assert not (tmp_path / "run").exists()


def test_submitted_cohort_must_be_where_workers_see_it(tmp_path: Path) -> None:
    config = CompareConfig(test_data="s3://bucket/clinic")
    assert ("--test-data", "s3://bucket/clinic") in SUBMITTABLE["compare"].list_inputs(config)


def test_arms_of_given_regions_have_no_part_as_a_cohort_comes_without() -> None:
    taking = [name for name in registry.ARMS if takes_part(name)]
    assert set(registry.ARMS) - set(taking) == {
        *("permuted_labels", "given_region", "random_region", "region_silhouette")
    }


def test_regions_of_the_run_are_no_view_of_a_cohort(predicted: World) -> None:
    external, _ = predicted
    marked = replace(external.trained, regions="a hash")
    again = ExternalExperiment.of(marked, external.cohort)
    trials = [Trial("stripe_net", next(iter(marked.seeds)), "lime")]
    assert "given_region" in list_views(marked, trials[0])
    assert "given_region" not in list_views(again, trials[0])
    assert [row.views for row in list_external(again, trials)] == [
        row.views for row in list_external(external, trials)
    ]
