"""Images without an explanation: nothing that is done to them may tell their class."""

import json
from collections import Counter
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml
from test_old_run import ARCHIVE as ARCHIVE
from test_old_run import old as old
from test_old_run import open_old
from test_trials import FLAT, MODEL, SPLIT, make_experiment, make_pixels, run, write_pixels

from osteo_ray.base.errors import InputError
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import MASKS, read_json, write_json, write_table, write_yaml
from osteo_ray.config.build import build, build_config, read_yaml
from osteo_ray.config.compare import CompareConfig
from osteo_ray.config.variants import VarianceConfig
from osteo_ray.data.masks import keep_centre, pack_mask
from osteo_ray.data.packed_masks import PackedMasks, borrow_masks
from osteo_ray.experiment.dataset import Dataset
from osteo_ray.experiment.keep_masks import (
    ALL_PIXELS,
    NO_PIXEL,
    count_unexplained,
    read_keep_masks,
)
from osteo_ray.experiment.trials import Experiment, Trial, describe_experiment, plan_trials
from osteo_ray.pipeline.compare.mask_jobs import list_explanations
from osteo_ray.pipeline.compare.prepare import locate_run, settle_rule
from osteo_ray.report.page import write_report

ERROR = "Expected at least 2 superpixels, but found 1."
SIDE_PX = 32
N = 400
CLASSES = ("normal", "worn")


# The rule


def draw_masks(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((n, 6, 6)) < 0.4


def borrow(masks: np.ndarray, failed: list[int], split: list[str], seed: int = 0) -> Any:
    flags = np.isin(np.arange(len(masks)), failed)
    ids = [f"image-{number}" for number in range(len(masks))]
    packed = PackedMasks.pack(masks)
    donors = borrow_masks(packed, flags, np.array(split), ids, seed)
    return packed[:], donors


def test_images_that_have_a_mask_keep_it_and_the_others_borrow_within_their_part() -> None:
    split = ["train"] * 6 + ["test"] * 6 + [""]
    masks = draw_masks(13)
    masks[2], masks[7], masks[12] = False, True, False  # nothing, everything, set aside
    found, donors = borrow(masks, [0, 9], split)
    wanting = [0, 2, 7, 9]
    for number in range(13):
        if number not in wanting:
            assert donors[number] == number
            assert (found[number] == masks[number]).all()
        else:
            assert split[donors[number]] == split[number]
            assert donors[number] not in wanting
            assert (found[number] == masks[donors[number]]).all()


def test_any_image_of_the_part_may_lend_its_mask_and_all_do_equally_often() -> None:
    masks = draw_masks(6)
    lent = Counter(int(borrow(masks, [0], ["test"] * 6, seed)[1][0]) for seed in range(2000))
    assert set(lent) == {1, 2, 3, 4, 5}
    assert max(lent.values()) < 480  # 400 expected, standard deviation 18
    first = borrow(masks, [0, 1], ["test"] * 6, 7)[1]
    assert (first == borrow(masks, [0, 1], ["test"] * 6, 7)[1]).all()
    many = [borrow(masks, [0, 1], ["test"] * 6, seed)[1][:2] for seed in range(50)]
    assert any(one != other for one, other in many)  # the id of the image counts as well


def test_two_kinds_of_mask_borrow_from_the_same_image_where_they_can() -> None:
    masks, split = draw_masks(40), ["test"] * 40
    one = borrow(masks, [0, 1, 2], split)[1]
    other = borrow(draw_masks(40, seed=1), [0, 1, 2, int(one[0])], split)[1]
    assert other[0] != one[0]
    assert (other[[1, 2]] == one[[1, 2]]).all()


def test_part_without_masks_shows_a_square_of_the_mean_area() -> None:
    masks = draw_masks(8)
    found, donors = borrow(masks, [4, 5, 6, 7], ["train"] * 4 + ["test"] * 4)
    area = round(masks[:4].sum((1, 2)).mean())
    assert (donors[4:] == -1).all()
    assert (found[4:] == keep_centre((6, 6), area)).all()
    assert found[4].sum() == area
    assert found[4, 2:4, 2:4].all()
    assert not found[4, 0].all()


def test_images_are_whole_if_there_are_no_masks_at_all() -> None:
    found, donors = borrow(np.zeros((4, 6, 6), bool), [0, 1], ["train", "train", "test", ""])
    assert found[:3].all()
    assert not found[3].any()  # set aside
    assert donors.tolist() == [-1, -1, -1, 3]


# A world in which what cannot be explained follows the class


def make_world(root: Path, rule: str, hurt: np.ndarray, how: str) -> Experiment:
    """Plant masks that say nothing about the class, but for some images, which have none.

    Args:
        root: Where.
        rule: The setting `unexplained`.
        hurt: bool, (N,); the images without an explanation.
        how: Whether that is an error, an empty mask or one that keeps everything.
    """
    images = pd.DataFrame(
        {
            "image_id": [f"image-{number:03}" for number in range(N)],
            "path": [f"{number}.png" for number in range(N)],
            "label": np.array(CLASSES)[LABELS],
            "group": np.arange(N),
        }
    )
    settings = {
        "models": [MODEL], "weights": ["none"], "seeds": 1, "image_size": SIDE_PX,
        "arms": ["original", *WORLD_ARMS], "out": str(root), "unexplained": rule,
    }  # fmt: skip
    dataset = Dataset(images, {0: PARTS}, CLASSES, "data")
    experiment = describe_experiment(Run(root), build_config(settings), dataset)
    rng = np.random.default_rng(5)
    _, second = plan_trials(experiment)
    for one in list_explanations(experiment, second).values():
        rows = []
        for number, image_id in enumerate(experiment.image_ids.tolist()):
            for kind in one.kinds:
                mask = rng.random((SIDE_PX, SIDE_PX)) < rng.uniform(0.2, 0.5)
                if hurt[number] and how != "error":
                    mask[:] = how == "full"
                failed = hurt[number] and how == "error"
                row = {"model": MODEL, "seed": 0, "teacher": one.teacher, "target": "predicted"}
                row |= {"kind": kind, "image_id": image_id}
                row |= {"keep_mask": b"" if failed else pack_mask(mask)}
                rows.append({**row, "error": ERROR if failed else None})
        write_table(one.masks / "part.parquet", pa.Table.from_pylist(rows, MASKS))
    return experiment


LABELS = np.random.default_rng(1).permutation(np.arange(N) % 2)
PARTS = np.array(["train", "train", "validation", "test"] * (N // 4), dtype="<U10")
WORLD_ARMS = ("lime", "random_mask", "silhouette", "complement", "gradcam", "other_image_mask")


def rank_classes(black: np.ndarray, labels: np.ndarray) -> float:
    """Return how well the share of black pixels tells the classes apart: 1 perfectly, 0.5 not."""
    one, other = black[labels == 1][:, None], black[labels == 0]
    auc = float(np.mean((one > other) + 0.5 * (one == other)))
    return max(auc, 1 - auc)


@pytest.mark.parametrize("how", ["error", "empty", "full"])
@pytest.mark.parametrize("arm", WORLD_ARMS)
def test_class_cannot_be_read_from_want_of_an_explanation(
    tmp_path: Path, arm: str, how: str
) -> None:
    hurt = (LABELS == 1) & ((PARTS == "test") | (np.arange(N) % 3 > 0))  # all of them in the test
    found = {}
    for rule in ("borrowed", "whole"):
        experiment = make_world(tmp_path / rule, rule, hurt, how)
        masks = read_keep_masks(experiment, Trial(MODEL, 0, arm))
        assert masks is not None
        black = 1 - masks.masks.areas_px / masks.masks[0].size
        found[rule] = {
            part: rank_classes(black[part == PARTS], LABELS[part == PARTS])
            for part in ("train", "test")
        }
        listed = {one.image_id for one in masks.unexplained}
        assert listed == set(experiment.image_ids[hurt].tolist())
        if rule == "whole" and arm == "lime":
            assert masks.masks[hurt].all()  # never black
        if rule == "borrowed":
            assert not masks.masks[:].all((1, 2)).any()
            assert masks.masks[:].any((1, 2)).all()
    # 50 and 50 images in the test, some of them with the same mask: standard deviation 0.06.
    assert found["borrowed"]["test"] < 0.68
    assert found["borrowed"]["train"] < 0.64
    if arm != "other_image_mask":
        assert found["whole"]["test"] == 1
        assert found["whole"]["train"] > 0.8


def test_record_says_who_why_and_whose_mask(tmp_path: Path) -> None:
    hurt = np.arange(N) < 3
    for how, reason in (("error", ERROR), ("empty", NO_PIXEL), ("full", ALL_PIXELS)):
        experiment = make_world(tmp_path / how, "borrowed", hurt, how)
        masks = read_keep_masks(experiment, Trial(MODEL, 0, "lime"))
        assert masks is not None
        assert masks.errors == {f"image-{number:03}": reason for number in range(3)}
        for number, one in enumerate(masks.unexplained):
            assert (one.split, one.label) == (PARTS[number], CLASSES[LABELS[number]])
            assert one.mask_of is not None
            lent = int(one.mask_of.removeprefix("image-"))
            assert PARTS[lent] == PARTS[number]
            assert (masks.masks[lent] == masks.masks[number]).all()


def test_trainings_record_their_images_and_the_run_counts_them(tmp_path: Path) -> None:
    experiment = make_experiment(tmp_path, arms=["original", "lime"])
    pixels = make_pixels()
    write_pixels(experiment, pixels)
    _, second = plan_trials(experiment)
    run(experiment, Trial(MODEL, 0, "original"), pixels)
    (one,) = list_explanations(experiment, second).values()
    rng = np.random.default_rng(0)
    rows = [
        {
            "model": MODEL, "seed": 0, "teacher": "original", "target": "predicted", "kind": kind,
            "image_id": image_id,
            "keep_mask": pack_mask(rng.random((SIDE_PX, SIDE_PX)) < 0.3),
            "error": ERROR if image_id == f"image-{FLAT:02}" else None,
        }
        for image_id in sorted(one.wanted) for kind in one.kinds
    ]  # fmt: skip
    write_table(one.masks / "part.parquet", pa.Table.from_pylist(rows, MASKS))
    assert count_unexplained(experiment) == {"rule": "borrowed", "counts": []}
    path = run(experiment, Trial(MODEL, 0, "lime"), pixels)
    record = json.loads((path / "unexplained.json").read_text())
    (image,) = record["images"]
    assert record["rule"] == "borrowed"
    assert image["mask_of"] != image["image_id"] == f"image-{FLAT:02}"
    label = str(experiment.labels[FLAT])
    row = {"model": MODEL, "arm": "lime", "split": SPLIT[FLAT], "label": label, "n": 1}
    assert count_unexplained(experiment) == {"rule": "borrowed", "counts": [row]}


# Runs that were made before there was the rule


def test_addresses_of_masked_arms_alone_depend_on_the_rule(tmp_path: Path) -> None:
    new, whole = (make_experiment(tmp_path, unexplained=rule) for rule in (None, "whole"))
    assert make_experiment(tmp_path, unexplained="borrowed").plan_hash == new.plan_hash
    assert new.plan_hash != whole.plan_hash
    first, second = plan_trials(new)
    for trial in {*first, *second}:
        is_same = new.key_of(trial) == whole.key_of(trial)
        assert is_same == (not new.list_jobs(trial)), trial
        for job in new.list_jobs(trial):
            assert new.key_of_job(job) == whole.key_of_job(job)


def test_settings_of_a_run_of_before_are_read_as_whole(old: Path, tmp_path: Path) -> None:
    stored = read_yaml(Run(old / "run").config)
    assert stored["unexplained"] == "whole"
    assert open_old(Run(old / "run")).settings.unexplained == "whole"
    for name in ("lime", "gradcam"):  # sets of explanations know nothing of arms
        assert "unexplained" not in read_yaml(old / f"explained-{name}" / "config.yaml")
    mine = tmp_path / "mine.yaml"
    mine.write_text("background: mean\nlime: {samples: 9}\ncrossfit_folds: 2\n")
    assert "unexplained" not in read_yaml(mine)
    config = build(CompareConfig, read_yaml(mine))
    assert config.unexplained_rule == "borrowed"
    write_yaml(mine, config.model_dump(mode="json"))
    assert build(CompareConfig, read_yaml(mine)).unexplained_rule == "borrowed"


@pytest.mark.parametrize("kind", [CompareConfig, VarianceConfig])
@pytest.mark.parametrize("stored", [None, "whole", "borrowed"])
def test_run_keeps_its_rule_unless_another_is_asked_for(
    tmp_path: Path, kind: type[CompareConfig], stored: str | None
) -> None:
    def configure(rule: str | None) -> CompareConfig:
        settings = {"data": "phantom", "out": str(tmp_path / "run"), "unexplained": rule}
        settings |= {} if kind is CompareConfig else {"seeds": 1}
        return build(kind, settings)

    run = Run(tmp_path / "run")
    assert settle_rule(run, configure(None)).unexplained == "borrowed"  # a new run
    settings = configure(stored or "whole").model_dump(mode="json")
    if stored is None:
        del settings["unexplained"]  # as earlier versions wrote it
    run.root.mkdir()
    write_yaml(run.config, settings)
    is_whole = stored != "borrowed"
    assert locate_run(configure(None)).root == run.root
    assert settle_rule(run, configure(None)).unexplained == ("whole" if is_whole else "borrowed")
    same, other = ("whole", "borrowed") if is_whole else ("borrowed", "whole")
    assert locate_run(configure(same)).root == run.root
    with pytest.raises(InputError, match="differs in unexplained") as error:
        locate_run(configure(other))
    assert f"unexplained (there {same}, here {other})" in str(error.value)
    assert settle_rule(run, configure(other)).unexplained == other


def test_name_of_a_run_does_not_depend_on_the_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    configs = [build_config({"unexplained": rule}) for rule in (None, "borrowed", "whole")]
    assert len({locate_run(config).root for config in configs}) == 1


def test_unknown_rule_is_refused() -> None:
    with pytest.raises(InputError, match="unexplained to be one of `borrowed` or `whole`"):
        build_config({"unexplained": "none"})


@pytest.mark.parametrize("rule", ["borrowed", "whole"])
def test_page_counts_them_per_arm_and_class(old: Path, rule: str) -> None:
    run = Run(old / "run")
    names = ("model", "arm", "split", "label", "n")
    rows = [
        ("test_byobnet", "gradcam", "train", "osteoporosis", 5),
        ("test_byobnet", "gradcam", "test", "osteoporosis", 2),
        ("test_byobnet", "gradcam", "test", "normal", 1),
        ("test_byobnet", "lime", "test", "normal", 3),
    ]
    counts = [dict(zip(names, row, strict=True)) for row in rows]
    found = {"rule": rule, "counts": counts}
    write_json(run.comparison, {**read_json(run.comparison), "unexplained": found})
    run.config.write_text(yaml.safe_dump({**read_yaml(run.config), "unexplained": rule}))
    page = unescape(write_report(run).read_text(encoding="utf-8"))
    told = "Grad-CAM mask 8 (1 normal, 7 osteoporosis); LIME mask 3 (3 normal, 0 osteoporosis)."
    assert told in page
    assert ("shown with the mask of another image" in page) == (rule == "borrowed")
    assert ("shown whole, which may give their class away" in page) == (rule == "whole")


def test_page_of_a_run_without_counts_says_nothing(old: Path) -> None:
    page = write_report(Run(old / "run")).read_text(encoding="utf-8")
    assert "Images without an explanation" not in page


def test_settings_of_an_experiment_name_the_rule(tmp_path: Path) -> None:
    experiment = make_experiment(tmp_path)
    assert experiment.settings.unexplained == "borrowed"
    assert replace(experiment.settings, unexplained="whole") == (
        make_experiment(tmp_path, unexplained="whole").settings
    )
