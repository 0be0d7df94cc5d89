"""Given regions in a run: how they come in, arms that show them, and what masks cover of them."""

from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.fs
import pytest
import torch
from planted import give_regions, open_small_world
from test_cli import COMMON, draw_images, fail
from test_region_files import PATHS, draw_region, save, write_coco, write_masks

from osteo_ray.arms.registry import ARMS
from osteo_ray.base.errors import InputError
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import locate, remove_tree, write_whole
from osteo_ray.base.tables import IMAGES, MASKS, read_parts, read_table, write_table, write_yaml
from osteo_ray.config.build import build_config
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.masks import pack_mask, unpack_mask
from osteo_ray.data.phantoms.sets import make_phantoms, write_phantoms
from osteo_ray.data.regions.given import read_regions
from osteo_ray.data.regions.region import shrink_region
from osteo_ray.data.settings import PhantomSettings
from osteo_ray.data.sources.kinds import open_source
from osteo_ray.experiment.analysis import Analysis
from osteo_ray.experiment.costs import Parts, count_work
from osteo_ray.experiment.coverage import (
    Covered,
    describe_coverage,
    measure_cover,
    summarize_coverage,
)
from osteo_ray.experiment.dataset import read_dataset
from osteo_ray.experiment.grid import list_grid, read_grid
from osteo_ray.experiment.keep_masks import read_keep_masks
from osteo_ray.experiment.region_table import load_regions
from osteo_ray.experiment.superpixel_files import read_superpixels
from osteo_ray.experiment.trials import Experiment, Trial, list_arms
from osteo_ray.models.training import Worker
from osteo_ray.pipeline.compare.given_regions import check_region_arms, read_given, store_regions
from osteo_ray.pipeline.compare.grid_row import predict_views
from osteo_ray.pipeline.compare.in_process import run_in_process
from osteo_ray.pipeline.compare.prepare import list_images
from osteo_ray.statistics.inference import TestDesign, estimate_mean

MODEL = "stripe_net"
TRAINED = ("original", "lime", "given_region", "random_region", "permuted_labels")


def draw_blocks(n: int, size_px: int = 32) -> np.ndarray:
    """A block of another size at another place in each image."""
    rng = np.random.default_rng(7)
    inside = np.zeros((n, size_px, size_px), bool)
    for one in inside:
        top, left = rng.integers(0, size_px // 2, 2)
        height, width = rng.integers(4, size_px // 2, 2)
        one[top : top + height, left : left + width] = True
    return inside


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Experiment, np.ndarray]:
    """A small world with regions, run, and its grid predicted."""
    experiment, pixels = open_small_world(tmp_path_factory.mktemp("regions"), TRAINED)
    experiment = give_regions(experiment, draw_blocks(len(pixels)))
    run_in_process(experiment, pixels)
    for seed in experiment.seeds:
        rows = list_grid(experiment, list_arms(experiment))
        of_seed = [row for row in rows if row.trial.seed == seed]
        predict_views(of_seed, experiment, pixels, Worker(torch.device("cpu")))
    return experiment, pixels


def first_seed(experiment: Experiment) -> int:
    return next(iter(experiment.seeds))


# The arms


def test_arms_show_the_region_and_random_superpixels_of_its_area(
    found: tuple[Experiment, np.ndarray],
) -> None:
    experiment, pixels = found
    regions = draw_blocks(len(pixels))
    np.testing.assert_array_equal(load_regions(experiment), regions)
    for seed in experiment.seeds:
        shown, drawn = (
            read_keep_masks(experiment, Trial(MODEL, seed, arm))
            for arm in ("given_region", "random_region")
        )
        assert shown is not None
        assert drawn is not None
        assert shown.unexplained == drawn.unexplained == ()
        assert shown.fresh is drawn.fresh is None
        used = experiment.splits[seed] != ""
        np.testing.assert_array_equal(shown.masks[used], regions[used])
        areas = [one[used].sum((1, 2)) for one in (drawn.masks, regions)]
        np.testing.assert_array_equal(*areas)
        assert (drawn.masks[used] != regions[used]).any((1, 2)).mean() > 0.9
        # Whole superpixels, but for the one that is cut.
        for mask, segments in zip(
            drawn.masks[used], read_superpixels(experiment)[used], strict=True
        ):
            shares = [mask[segments == number].mean() for number in np.unique(segments)]
            assert sum(0 < share < 1 for share in shares) <= 1


def test_images_that_are_set_aside_are_kept_whole(
    found: tuple[Experiment, np.ndarray],
) -> None:
    experiment, _ = found
    seed = first_seed(experiment)
    split = experiment.splits[seed].copy()
    split[3] = ""
    changed = replace(experiment, splits={seed: split})
    for arm in ("given_region", "random_region"):
        shown = read_keep_masks(changed, Trial(MODEL, seed, arm))
        assert shown is not None
        assert shown.masks[3].all()


def test_whole_image_as_region_is_no_failed_explanation(tmp_path: Path) -> None:
    experiment, pixels = open_small_world(tmp_path, TRAINED)
    inside = draw_blocks(len(pixels))
    inside[5] = True
    experiment = give_regions(experiment, inside)
    shown = read_keep_masks(experiment, Trial(MODEL, first_seed(experiment), "given_region"))
    assert shown is not None
    assert shown.masks[5].all()
    assert shown.unexplained == ()


def test_arms_need_no_teacher_and_cost_no_explanations() -> None:
    def count(*arms: str) -> tuple[int, int]:
        work = count_work(
            n_models=1, n_seeds=1, arms=arms, parts=Parts(70, 20, 10), epochs=1,
            passes_of=lambda _: 9, crossfit_folds=3, protocol="paper",
        )  # fmt: skip
        return work.n_trainings, work.n_explanations

    assert count("original", "given_region", "random_region") == (3, 0)
    assert count("original", "lime", "given_region") == (4, 100)


def test_without_regions_the_arms_cannot_be_shown(tmp_path: Path) -> None:
    experiment, _ = open_small_world(tmp_path, TRAINED)
    trial = Trial(MODEL, first_seed(experiment), "given_region")
    assert experiment.list_requirements(trial) == []
    with pytest.raises(InputError, match=r"region of every image in .*regions\.parquet, but not"):
        read_keep_masks(experiment, trial)


SHOWN = ("given_region", "random_region", "region_silhouette")


def test_addresses_depend_on_regions_only_where_they_are_shown(tmp_path: Path) -> None:
    experiment, pixels = open_small_world(tmp_path, tuple(ARMS))
    inside = draw_blocks(len(pixels))
    one = give_regions(experiment, inside)
    inside[0, 0, 0] = ~inside[0, 0, 0]
    other = give_regions(experiment, inside)
    seed = first_seed(experiment)
    for arm in ARMS:
        trial = Trial(MODEL, seed, arm)
        same = one.key_of(trial) == other.key_of(trial)
        assert same == (arm not in SHOWN), arm
        if same:
            assert one.key_of(trial) == experiment.key_of(trial)
    keys = {one.key_of(Trial(MODEL, seed, arm)) for arm in ("given_region", "random_region")}
    assert len(keys) == 2
    coarser = one.settings.lime.model_copy(update={"n_superpixels": 9})
    coarse = replace(one, settings=replace(one.settings, lime=coarser))
    changed = [
        one.key_of(trial) != coarse.key_of(trial)
        for trial in (Trial(MODEL, seed, arm) for arm in ("given_region", "random_region"))
    ]
    assert changed == [False, True]


# The grid


def test_region_is_a_view_where_there_are_regions(found: tuple[Experiment, np.ndarray]) -> None:
    experiment, pixels = found
    seed = first_seed(experiment)
    rows = list_grid(experiment, list_arms(experiment))
    views = {row.trial.arm: row.views for row in rows if row.trial.seed == seed}
    assert views == {
        "original": ("lime", "random_mask", "complement", "given_region"),
        "lime": ("original", "random_mask", "complement", "given_region"),
        "given_region": ("original", "lime", "random_mask", "complement"),
        "random_region": ("original", "lime", "random_mask", "complement", "given_region"),
    }
    table = read_grid(experiment, rows)
    assert table is not None
    frame = table.to_pandas()
    part = frame[
        (frame["seed"] == seed) & (frame["arm"] == "original") & (frame["view"] == "given_region")
    ].set_index("image_id")
    from osteo_ray.pipeline.compare.one_trial import load_trained

    test = experiment.splits[seed] == "test"
    shown = np.where(draw_blocks(len(pixels))[test], pixels[test], 0).astype(np.float32) / 255
    classifier = load_trained(Trial(MODEL, seed, "original"), experiment).eval()
    with torch.inference_mode():
        logits = classifier(torch.from_numpy(shown)[:, None]).double()
    expected = torch.softmax(logits, 1).numpy()[:, 1]
    np.testing.assert_allclose(part.loc[experiment.image_ids[test], "p_upright"], expected, 1e-5)


def test_grid_of_runs_without_regions_is_where_it_was(
    found: tuple[Experiment, np.ndarray],
) -> None:
    experiment, _ = found
    without = replace(experiment, regions="", arms=("original", "lime"))
    rows = list_grid(without, list_arms(without))
    assert all("given_region" not in row.views for row in rows)
    there = replace(without, regions="other")
    again = list_grid(there, list_arms(there))
    assert not {row.target for row in rows} & {row.target for row in again}
    different = replace(without, regions="yet another")
    other = list_grid(different, list_arms(different))
    assert not {row.target for row in again} & {row.target for row in other}


# Coverage


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        ([0, 1, 2, 3], (2 / 6, 2 / 4, 2 / 4)),
        ([2, 3, 4], (3 / 4, 3 / 4, 1)),
        ([2, 3, 4, 5], (1, 1, 1)),
        (list(range(8)), (4 / 8, 1, 4 / 8)),
        ([6, 7], (0, 0, 0)),
        ([], (0, 0, 0)),
    ],
)
def test_cover_by_hand(kept: list[int], expected: tuple[float, float, float]) -> None:
    mask, region = np.zeros((3, 9), bool), np.zeros((3, 9), bool)  # 27 bits: some are padding
    mask[1, kept], region[1, 2:6] = True, True
    assert measure_cover(pack_mask(mask), pack_mask(region)) == pytest.approx(expected)


def test_coverage_of_a_run_by_a_second_implementation(
    found: tuple[Experiment, np.ndarray],
) -> None:
    experiment, pixels = found
    regions = draw_blocks(len(pixels))
    described = describe_coverage(experiment, Analysis.of(experiment))
    assert described is not None
    assert described["area"] == pytest.approx(regions.mean())
    rows = {row["kind"]: row for row in described["masks"]}
    assert set(rows) == {"lime", "random", "gradcam"}
    size_px = experiment.settings.image_size
    place = {image_id: at for at, image_id in enumerate(experiment.image_ids.tolist())}
    means: dict[str, list[list[float]]] = {kind: [] for kind in rows}
    for seed in experiment.seeds:
        folder = experiment.run.masks / MODEL / f"seed-{seed}"
        stored = [
            row for row in read_parts(folder, MASKS).to_pylist() if row["teacher"] == "original"
        ]
        for kind, of_kind in means.items():
            figures = []
            for row in stored:
                at = place[row["image_id"]]
                if row["kind"] != kind or experiment.splits[seed][at] != "test":
                    continue
                mask, region = unpack_mask(row["keep_mask"], size_px), regions[at]
                joint = np.sum(mask * region)
                either = np.sum(np.maximum(mask, region))
                figures.append([joint / either, joint / region.sum(), joint / mask.sum()])
            assert len(figures) == np.sum(experiment.splits[seed] == "test")
            of_kind.append(np.mean(figures, 0).tolist())
    for kind, row in rows.items():
        assert (row["model"], row["n_seeds"]) == (MODEL, 2)
        for column, name in enumerate(("iou", "recall", "precision")):
            figure = row["figures"][name]
            of_seeds = np.array(means[kind])[:, column]
            assert figure["mean"] == pytest.approx(of_seeds.mean())
            assert figure["low"] < figure["mean"] < figure["high"]
            if kind == "random":
                assert figure["more"] is figure["more_low"] is None
            else:
                excess = of_seeds - np.array(means["random"])[:, column]
                assert figure["more"] == pytest.approx(excess.mean())
                assert figure["more_low"] < figure["more"] < figure["more_high"]
    # Random masks have as much of the region as the share of the image that they keep, by chance.
    kept = np.mean([read_lime(experiment, seed).mean() for seed in experiment.seeds])
    recall = rows["random"]["figures"]["recall"]
    assert recall["mean"] == pytest.approx(kept, abs=0.1)


def read_lime(experiment: Experiment, seed: int) -> np.ndarray:
    found = read_keep_masks(experiment, Trial(MODEL, seed, "lime"))
    assert found is not None
    return found.masks[experiment.splits[seed] == "test"]


def test_runs_without_regions_or_masks_have_no_coverage(
    found: tuple[Experiment, np.ndarray], tmp_path: Path
) -> None:
    experiment, _ = found
    analysis = Analysis.of(experiment)
    assert describe_coverage(replace(experiment, regions=""), analysis) is None
    bare, pixels = open_small_world(tmp_path, ("original", "permuted_labels"))
    bare = give_regions(bare, draw_blocks(len(pixels)))
    for folder in bare.run.masks.rglob("original-*"):
        for file in folder.iterdir():
            file.unlink()
    assert describe_coverage(bare, Analysis.of(bare)) is None


def test_pointing_game_by_hand(tmp_path: Path) -> None:
    """Peaks of several pixels, as LIME's are, and of one pixel, as those of heat maps."""
    experiment, pixels = open_small_world(tmp_path, ("original", "lime", "gradcam"))
    regions = draw_blocks(len(pixels))
    experiment = give_regions(experiment, regions)
    run_in_process(experiment, pixels)
    rng = np.random.default_rng(0)
    peaks = {kind: rng.random(regions.shape) < 0.02 for kind in ("lime", "gradcam")}
    places = rng.integers(0, regions[0].size, len(pixels))
    peaks["gradcam"] = (np.arange(regions[0].size) == places[:, None]).reshape(regions.shape)
    for seed in experiment.seeds:
        for file in (experiment.run.masks / MODEL / f"seed-{seed}").glob("original-*/*.parquet"):
            rows = read_table(file).to_pylist()
            for row in rows:
                at = experiment.image_ids.tolist().index(row["image_id"])
                if row["kind"] in peaks:
                    row["peak"] = pack_mask(peaks[row["kind"]][at])
            write_table(file, pa.Table.from_pylist(rows, schema=MASKS))
    described = describe_coverage(experiment, Analysis.of(experiment))
    assert described is not None
    figures = {row["kind"]: row["figures"]["pointing"] for row in described["masks"]}
    tests = [np.flatnonzero(experiment.splits[seed] == "test") for seed in experiment.seeds]
    chance = np.mean([regions[test].mean() for test in tests])
    assert figures["random"]["mean"] == pytest.approx(chance)
    for kind, peak in peaks.items():
        shares = (peak & regions).sum((1, 2)) / peak.sum((1, 2))
        expected = np.mean([shares[test].mean() for test in tests])
        assert figures[kind]["mean"] == pytest.approx(expected)
        assert figures[kind]["more"] == pytest.approx(expected - chance)


def test_masks_without_a_peak_have_no_pointing_game(found: tuple[Experiment, np.ndarray]) -> None:
    experiment, _ = found  # whose LIME masks are planted
    described = describe_coverage(experiment, Analysis.of(experiment))
    assert described is not None
    told = {row["kind"]: "pointing" in row["figures"] for row in described["masks"]}
    assert told == {"lime": False, "random": True, "gradcam": True}


def make_analysis(experiment: Experiment, **changes: Any) -> Analysis:
    return replace(Analysis.of(experiment), **changes)


def make_covered(n_seeds: int, *, shared: bool = False) -> list[Covered]:
    rng = np.random.default_rng(1)
    seeds = []
    for _ in range(n_seeds):
        groups = np.arange(20) if shared else np.sort(rng.choice(60, 20, replace=False))
        values = {kind: rng.uniform(size=(20, 4)) for kind in ("lime", "random")}
        seeds.append(Covered(groups, values))
    return seeds


def test_interval_is_the_most_cautious_of_both(found: tuple[Experiment, np.ndarray]) -> None:
    analysis = Analysis.of(found[0])
    seeds = make_covered(4)
    (lime, _) = summarize_coverage(MODEL, seeds, analysis)
    values = np.array([one.values["lime"][:, 1].mean() for one in seeds])
    design = TestDesign(analysis.sizes.n_test, analysis.sizes.n_train, fixed=False)
    corrected = estimate_mean(values, None, 0, design)
    assert corrected is not None
    low, high = corrected.interval(analysis.alpha)
    figure = lime["figures"]["recall"]
    assert figure["mean"] == pytest.approx(values.mean())
    assert 0 < figure["low"] <= low < high <= figure["high"] < 1
    assert lime["n_seeds"] == 4
    for kind in summarize_coverage(MODEL, make_covered(2), analysis):
        for one in kind["figures"].values():
            assert 0 <= one["low"] < one["mean"] < one["high"] <= 1


def test_seeds_that_test_the_same_images_are_resampled(
    found: tuple[Experiment, np.ndarray],
) -> None:
    (lime, _) = summarize_coverage(MODEL, make_covered(5, shared=True), Analysis.of(found[0]))
    figure = lime["figures"]["iou"]
    assert figure["low"] < figure["mean"] < figure["high"]


def test_one_seed_has_no_interval_and_gaps_are_left_out(
    found: tuple[Experiment, np.ndarray],
) -> None:
    (one,) = make_covered(1)
    one.values["lime"][:5] = np.nan  # images that could not be explained
    one.values["lime"][:, 3] = np.nan
    lime, random = summarize_coverage(MODEL, [one], Analysis.of(found[0]))
    figure = lime["figures"]["iou"]
    assert figure["mean"] == pytest.approx(one.values["lime"][5:, 0].mean())
    excess = one.values["lime"][5:, 0] - one.values["random"][5:, 0]
    assert figure["more"] == pytest.approx(excess.mean())
    assert figure["low"] is figure["high"] is figure["more_low"] is None
    assert set(lime["figures"]) == {"iou", "recall", "precision"}
    assert "pointing" in random["figures"]


# How regions come into a run


def make_images(root: Path) -> Run:
    run = Run(root)
    rows = [
        {"image_id": f"id-{n}", "path": path, "width": 48, "height": 64}
        for n, path in enumerate(PATHS)
    ]
    write_table(run.images, pa.Table.from_pylist(rows, IMAGES))
    return run


def configure(**settings: Any) -> Any:
    return build_config({"data": "/knees", "image_size": 32, **settings})


def test_regions_are_kept_in_the_run(tmp_path: Path) -> None:
    run, config = make_images(tmp_path / "run"), configure()
    given = read_regions(write_masks(tmp_path / "masks"), PATHS, ImageSize.square(32))
    store_regions(run, config, None)
    assert not run.regions.exists()
    store_regions(run, config, given)
    table = read_table(run.regions).to_pylist()
    assert [row["image_id"] for row in table] == [f"id-{n}" for n in range(4)]
    for number, row in enumerate(table):
        assert row["region"] == shrink_region(draw_region(number), ImageSize.square(32)).packed
    before = run.regions.read_bytes()
    store_regions(run, config, None)
    store_regions(run, config, given)
    same = read_regions(write_coco(tmp_path / "coco.json"), PATHS, ImageSize.square(32))
    store_regions(run, config, same)
    assert run.regions.read_bytes() == before


def test_other_regions_than_those_of_the_run_are_refused(tmp_path: Path) -> None:
    run, config = make_images(tmp_path / "run"), configure()
    folder = write_masks(tmp_path / "masks")
    store_regions(run, config, read_regions(folder, PATHS, ImageSize.square(32)))
    save(Path(folder) / PATHS[1], draw_region(3))
    with pytest.raises(InputError) as error:
        store_regions(run, config, read_regions(folder, PATHS, ImageSize.square(32)))
    assert str(error.value) == (
        f"Expected the regions in {folder} to be those that the run {run.root} has, but 1 of 4 "
        "have changed. Choose another --out."
    )


def test_regions_of_another_size_are_not_stored(tmp_path: Path) -> None:
    run = make_images(tmp_path / "run")
    folder = write_masks(tmp_path / "masks")
    save(Path(folder) / PATHS[1], draw_region(1).T)
    with pytest.raises(InputError, match=r"normal/1\.png has 48 × 64 px and its region 64 × 48 px"):
        store_regions(run, configure(), read_regions(folder, PATHS, ImageSize.square(32)))
    assert not run.regions.exists()


@pytest.mark.parametrize("remote", [False, True])
def test_phantoms_bring_their_regions(
    tmp_path: Path, s3_server: str, s3_keys: None, remote: bool
) -> None:
    settings = PhantomSettings(n_images=12, size_px=48, copy_kinds=("mirrored", "cropped"))
    run = Run(locate(open_bucket(s3_server)) / "run" if remote else tmp_path)
    config = configure(data="phantom", phantom=settings.model_dump())
    drawn = list(make_phantoms(settings))
    rows = [
        {
            "image_id": f"id-{n}",
            "path": one.name,
            "label": one.label,
            "digest": str(n),
            "group": n,
            "width": one.image.shape[1],
            "height": one.image.shape[0],
        }
        for n, one in enumerate(drawn)
    ]
    write_table(run.images, pa.Table.from_pylist(rows, IMAGES))
    store_regions(run, config, None)  # a run that has lost its phantoms
    assert not run.regions.exists()
    with write_whole(run.phantom, last="truth.csv") as unfinished:
        write_phantoms(unfinished, settings)
    store_regions(run, config, None)
    table = read_table(run.regions).to_pylist()
    assert [row["region"] for row in table] == [
        shrink_region(one.region, ImageSize.square(32)).packed for one in drawn
    ]
    splits = {"seed": [0], "image_id": ["id-0"], "split": ["train"]}
    write_table(run.splits, pa.table(splits))
    assert read_dataset(run, config).regions
    remove_tree(run.regions)
    assert read_dataset(run, config).regions == ""


def open_bucket(s3_server: str) -> str:
    """Make a bucket; return its URI."""
    options = f"?endpoint_override={quote(s3_server, safe='')}&scheme=http"
    storage, _ = pyarrow.fs.FileSystem.from_uri(
        f"s3://phantoms{options}&allow_bucket_creation=true"
    )
    storage.create_dir("phantoms")
    return f"s3://phantoms{options}"


def test_named_regions_of_a_manifest_are_read(tmp_path: Path) -> None:
    from test_region_files import write_manifest

    uri = write_manifest(tmp_path, "region", [f"masks/{path}" for path in PATHS])
    source = open_source(uri)
    given = read_given(configure(data=uri), source)
    assert given is not None
    assert list(given.regions) == PATHS
    folder = read_given(configure(data=uri, regions=str(tmp_path / "masks")), source)
    assert folder is not None
    assert folder.regions == given.regions
    assert folder.uri == str(tmp_path / "masks")
    check_region_arms(configure(data=uri, arms=["original", "given_region"]), Run(tmp_path), source)


def test_setting_does_not_change_what_a_run_is() -> None:
    plain, given = configure(), configure(regions="masks")
    assert given.regions == str(Path("masks").resolve())
    assert plain.identity() == given.identity()
    assert plain.plan_hash() == given.plan_hash()
    with pytest.raises(InputError, match="Expected no --regions with --data phantom"):
        configure(data="phantom", regions="masks")


def test_older_run_of_phantoms_takes_regions_in_if_it_has_its_phantoms(tmp_path: Path) -> None:
    config = configure(data="phantom", arms=["original", "random_region"])
    run = Run(tmp_path)
    list_images(config, run)  # a new run draws them
    write_yaml(run.config, config.model_dump(mode="json"))
    with pytest.raises(InputError, match="Expected regions for random_region, but neither"):
        list_images(config, run)
    (run.phantom / "regions").mkdir(parents=True)
    list_images(config, run)


# What the command says


@pytest.fixture
def images(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    draw_images(source / "normal", 4)
    draw_images(source / "osteoporosis", 4, seed=1)
    return source


def list_paths(images: Path) -> list[Path]:
    return [path.relative_to(images) for path in sorted(images.glob("*/*.png"))]


def refuse(capfd: pytest.CaptureFixture[str], images: Path, *flags: str) -> str:
    """Run a comparison that must end with exit code 2, before Ray starts, and write nothing."""
    out = images.parent / "out"
    with mock.patch("osteo_ray.pipeline.compare.stages.connect") as connect:
        printed = fail(capfd, "compare", "--data", str(images), "--out", str(out), *COMMON, *flags)
    assert not connect.called
    assert not out.exists()
    return printed


@pytest.mark.parametrize("arms", [("given_region",), ("given_region", "random_region")])
def test_command_refuses_arms_without_regions(
    capfd: pytest.CaptureFixture[str], images: Path, arms: tuple[str, ...]
) -> None:
    printed = refuse(capfd, images, "--arms", "original", *arms)
    assert f"Expected regions for {' and '.join(arms)}, but neither" in printed
    assert "Give them by --regions, a folder with a PNG mask for each image" in printed
    printed = fail(capfd, "plan", "--data", str(images), *COMMON, "--arms", "paper", *arms)
    assert "Expected regions for" in printed


def test_command_refuses_missing_and_empty_regions(
    capfd: pytest.CaptureFixture[str], images: Path, tmp_path: Path
) -> None:
    masks = tmp_path / "masks"
    first, *others = list_paths(images)
    for path in others:
        save(masks / path, np.ones((64, 64), bool))
    assert f"1 of 8 images have none: {first}" in refuse(capfd, images, "--regions", str(masks))
    save(masks / first, np.zeros((64, 64), bool))
    assert f"that of {first} is empty" in refuse(capfd, images, "--regions", str(masks))
    nowhere = str(tmp_path / "nowhere")
    assert f"but {nowhere} does not exist" in refuse(capfd, images, "--regions", nowhere)


@pytest.mark.ray
def test_command_refuses_regions_of_another_size(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, local_ray: None
) -> None:
    images = tmp_path / "source"
    draw_images(images / "normal", 12)
    draw_images(images / "osteoporosis", 12, seed=1)
    paths = list_paths(images)
    for path in paths:
        save(tmp_path / "masks" / path, np.ones((64, 64), bool))
    save(tmp_path / "masks" / paths[4], np.ones((32, 64), bool))
    printed = fail(
        capfd, "compare", "--data", str(images), "--out", str(tmp_path / "out"), *COMMON,
        "--regions", str(tmp_path / "masks"),
    )  # fmt: skip
    assert f"{paths[4]} has 64 × 64 px and its region 64 × 32 px" in printed
    assert not (tmp_path / "out").exists()
