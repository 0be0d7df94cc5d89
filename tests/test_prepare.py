"""How a run is opened: how its images are divided, and whether its models are known to work."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from osteo_ray.base.errors import InputError, LeakError
from osteo_ray.base.paths import name_source
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import IMAGES, read_json, write_json, write_table, write_yaml
from osteo_ray.config.build import build_config, read_yaml
from osteo_ray.config.compare import CompareConfig
from osteo_ray.config.parts import SplitSettings
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.settings import PhantomSettings
from osteo_ray.data.sources.listing import Source, list_refused, tabulate_items
from osteo_ray.data.sources.readers import FileReader
from osteo_ray.pipeline.compare import prepare
from osteo_ray.pipeline.compare.prepare import (
    check_classes_left,
    describe_plan,
    extend_run,
    knows_models,
    locate_run,
)
from osteo_ray.pipeline.compare.sites import (
    check_listed_sites,
    check_read_sites,
    place_images,
    state_sites,
)
from osteo_ray.pipeline.ingest.auditing import Audit


def make_config(**settings: Any) -> CompareConfig:
    return build_config({"data": "/knees", "seeds": 4, **settings})


def split_images(images: pd.DataFrame, config: CompareConfig) -> pd.DataFrame:
    return prepare.split_images(images, SplitSettings.of(config))


def make_images(n: int = 60, **columns: Any) -> pd.DataFrame:
    """Images in pairs of copies, classes in turn."""
    table = {
        "image_id": [f"id-{number:02}" for number in range(n)],
        "path": [f"{number:02}.png" for number in range(n)],
        "label": np.repeat(["normal", "worn"], 2)[np.arange(n) % 4],
        "group": np.arange(n) // 2,
        "used": True,
        "given_split": "",
    }
    return pd.DataFrame({**table, **columns})


def test_grouped_splits_keep_groups_whole_and_leave_out_what_is_not_used() -> None:
    images = make_images()
    images.loc[[0, 1], "used"] = False
    splits = split_images(images, make_config()).merge(images, on="image_id")
    assert splits.groupby(["seed", "group"])["split"].nunique().max() == 1
    assert splits.groupby("seed").size().tolist() == [58] * 4
    assert splits.groupby(["seed", "label"])["split"].nunique().min() == 3


def test_random_splits_tear_copies_apart() -> None:
    images = make_images()
    splits = split_images(images, make_config(split="random")).merge(images, on="image_id")
    assert splits.groupby(["seed", "group"])["split"].nunique().max() > 1


def test_folds_test_each_image_once_per_repeat() -> None:
    images = make_images()
    splits = split_images(images, make_config(folds=2)).merge(images, on="image_id")
    tested = splits[splits["split"] == "test"]
    for repeat in (0, 1):
        of_repeat = tested[tested["seed"] // 2 == repeat]
        assert sorted(of_repeat["image_id"]) == images["image_id"].tolist()
    first, second = (set(tested.loc[tested["seed"] == seed, "image_id"]) for seed in (0, 2))
    assert first != second  # repeats differ
    assert splits.groupby(["seed", "group"])["split"].nunique().max() == 1


GIVEN = np.array(["train"] * 40 + ["validation"] * 10 + ["test"] * 10)


def test_sites_are_tested_in_turn() -> None:
    sites = np.repeat(["a", "b"], 30)
    config = make_config(split="site", split_ratio=(2, 1, 1))
    splits = split_images(make_images(site=sites), config).merge(
        make_images(site=sites), on="image_id"
    )
    tested = splits[splits["split"] == "test"].groupby("seed")["site"].unique()
    assert {seed: list(found) for seed, found in tested.items()} == {
        0: ["a"], 1: ["b"], 2: ["a"], 3: ["b"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("site", "changes", "message"),
    [
        ([""] * 8, {}, "8 of 8 have none, such as 00.png"),
        (["a"] * 8, {}, "all are of `a`"),
        (["a", "a", "b", "b"] * 2, {}, "the site `a` has none of class `worn`"),
        (list("aaaabbbb"), {"seeds": 3}, r"multiples of 2.*Choose --seeds 4\."),
        (list("aaaabbbb"), {"site_level": 1}, "8 of 8 have none"),
    ],
)
def test_sites_are_checked_before_any_image_is_read(
    site: list[str], changes: dict[str, Any], message: str
) -> None:
    items = make_images(8, site=site)
    source = Source("knees.csv", "manifest", items, items[:0], FileReader("."))
    with pytest.raises(InputError, match=message):
        check_listed_sites(make_config(split="site", **changes), source)


def test_sites_that_headers_may_name_are_checked_after_reading() -> None:
    items = make_images(8, site="", path=[f"{number}.dcm" for number in range(8)])
    source = Source("knees.csv", "manifest", items, items[:0], FileReader("."))
    check_listed_sites(make_config(split="site"), source)
    with pytest.raises(InputError, match=r"8 of 8 have none, such as 0\.dcm"):
        check_read_sites(make_config(split="site"), items)


def test_phantoms_have_no_sites() -> None:
    with pytest.raises(InputError, match="but phantoms have none"):
        check_listed_sites(make_config(split="site"), PhantomSettings())


def test_folders_name_sites_if_asked() -> None:
    images = pd.DataFrame({"path": ["x/a/1.png", "y/b/2.png"], "site": ["", "c"]})
    assert place_images(images, 2)["site"].tolist() == ["a", "b"]
    assert place_images(images, None) is images


def test_given_split_is_taken_for_every_seed() -> None:
    images = make_images(given_split=GIVEN)
    splits = split_images(images, make_config(split="given"))
    for _, part in splits.groupby("seed"):
        assert part["split"].tolist() == GIVEN.tolist()


def test_given_split_that_leaks_is_refused() -> None:
    torn = GIVEN.copy()
    torn[1] = "test"  # a copy of image 0, which is for training
    with pytest.raises(LeakError, match=r"00\.png \(train\), 01\.png \(test\)"):
        split_images(make_images(given_split=torn), make_config(split="given"))


def test_given_split_without_a_part_is_refused() -> None:
    none = np.where(GIVEN == "validation", "train", GIVEN)
    with pytest.raises(InputError, match="none of class normal is for validation"):
        split_images(make_images(given_split=none), make_config(split="given"))


def _write_run(root: Path, config: CompareConfig) -> Run:
    run = Run(root)
    images = make_images()
    for name in set(IMAGES.names) - set(images):
        images[name] = None
    write_table(run.images, pa.Table.from_pandas(images[IMAGES.names], preserve_index=False))
    splits = split_images(images, config)
    write_table(run.splits, pa.Table.from_pandas(splits, preserve_index=False))
    write_json(run.plan, [describe_plan(config)])
    return run


def test_plan_may_change_and_the_change_is_kept(tmp_path: Path) -> None:
    run = _write_run(tmp_path, make_config(seeds=2))
    before = pq.read_table(run.splits).to_pandas()
    extend_run(run, make_config(seeds=2))
    assert len(read_json(run.plan)) == 1
    more = make_config(seeds=4, arms=["paper"])
    extend_run(run, more)
    plans = read_json(run.plan)
    assert [plan["seeds"] for plan in plans] == [2, 4]
    assert plans[0]["hash"] != plans[1]["hash"]
    assert plans[1]["results_seen"] is False
    after = pq.read_table(run.splits).to_pandas()
    pd.testing.assert_frame_equal(after.iloc[: len(before)], before)
    pd.testing.assert_frame_equal(after, split_images(make_images(), more).reset_index(drop=True))
    assert build_config(read_yaml(run.config)) == more
    write_json(run.comparison, {})
    extend_run(run, make_config(seeds=4, arms=["paper"], statistics={"metric": "mcc"}))
    assert read_json(run.plan)[-1]["results_seen"] is True


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"folds": 3}, "multiples of folds"),
        ({"folds": 2, "first_seed": 1}, "multiples of folds"),
        ({"folds": 2, "split": "given"}, "either --folds or --split given"),
        ({"folds": 2, "split": "site"}, "either --folds or --split site"),
        ({"folds": 1}, "folds to be at least 2, but got 1"),
    ],
)
def test_impossible_plans(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        make_config(**settings)


def test_a_class_of_which_nothing_can_be_used_is_missed() -> None:
    rows = [{"path": f"{label}/{k}.png", "label": label} for label in "abc" for k in range(2)]
    source = Source("/knees", "folders", tabulate_items(rows), list_refused([]), FileReader("/x"))
    images = source.items.assign(given_label=source.items["label"], used=True)

    def check(images: pd.DataFrame, *refused: str) -> None:
        rejects = list_refused((path, "a HEIF file") for path in refused)
        check_classes_left(source, Audit(images, pd.DataFrame(), rejects, [], []))

    check(images)
    check(images[1:], "a/0.png")
    with pytest.raises(InputError, match=r"none of c can be used\. Of 2, 2 cannot be read, the fi"):
        check(images[:4], "c/0.png", "c/1.png")
    images.loc[[2, 4, 5], "used"] = False  # as copies in several classes are
    with pytest.raises(InputError, match=r"none of c can .* Of 2, 2 have copies in another class"):
        check(images)
    images.loc[[4, 5], ["used", "label"]] = True, "a"  # by majority
    with pytest.raises(InputError, match="none of c can be used"):
        check(images)
    with pytest.raises(InputError, match=r"c/0.png: a HEIF file; 1 have copies in another class"):
        check(images.drop(4), "c/0.png")


def test_conflicts_are_kept_only_where_the_split_leaks_anyway() -> None:
    assert make_config().conflict_policy == "drop"
    assert make_config(split="random").conflict_policy == "keep"
    assert make_config(split="random", conflicts="drop").conflict_policy == "drop"
    assert make_config(conflicts="majority").conflict_policy == "majority"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("/a/knees", "knees"),
        ("/a/knees.csv", "knees"),
        ("s3://b/k.npz?region=x", "k"),
        ("/", "data"),
    ],
)
def test_a_source_has_a_short_name(data: str, name: str) -> None:
    assert name_source(data) == name


def test_only_models_that_were_checked_are_known(tmp_path: Path) -> None:
    weights = [tmp_path / name for name in ("one.safetensors", "other.safetensors")]
    for file in weights:
        file.touch()

    def configure(*models: str, file: Path = weights[0]) -> CompareConfig:
        return build_config({"models": models, "weights": [f"{models[0]}={file}"]})

    run = Run(tmp_path / "run")
    config = configure("test_byobnet", "test_efficientnet")
    assert not knows_models(run, config)
    write_yaml(run.config, config.model_dump(mode="json"))
    assert knows_models(run, config)
    assert knows_models(run, configure("test_byobnet"))
    assert not knows_models(run, configure("test_byobnet", file=weights[1]))
    assert not knows_models(run, configure("test_byobnet", "test_vit"))


# The output directory


def _begin(root: Path, **settings: Any) -> CompareConfig:
    config = build_config({"out": str(root), **settings})
    write_yaml(Run(root).config, config.model_dump(mode="json"))
    return config


def test_a_run_is_resumed_with_other_plans_but_not_with_other_settings(tmp_path: Path) -> None:
    config = _begin(tmp_path, image_size=48)
    for plan in ({}, {"seeds": 9}, {"arms": ("original", "lime")}):
        assert locate_run(config.model_copy(update=plan)).root == tmp_path
    with pytest.raises(InputError) as caught:
        locate_run(config.model_copy(update={"image_size": ImageSize.square(64)}))
    assert str(caught.value) == (
        f"Expected --out to be a new folder, or a run with the same settings, but the one in "
        f"{tmp_path} differs in image_size (there 48, here 64). Choose another --out, or repeat "
        "the earlier settings to resume it."
    )


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    config = build_config({"out": str(tmp_path)})
    assert locate_run(config).root == tmp_path  # empty
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="it holds something else"):
        locate_run(config)
    (tmp_path / "config.yaml").write_text("colour: red")
    with pytest.raises(InputError, match=r"its config.yaml is not valid: Unknown .*`colour`\."):
        locate_run(config)
    with pytest.raises(InputError, match=r"thesis.txt is not a folder"):
        locate_run(build_config({"out": str(tmp_path / "thesis.txt" / "run")}))
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_a_run_without_a_name_is_named_after_data_and_settings() -> None:
    names = {
        locate_run(build_config({"data": data, "image_size": size})).root.name
        for data in ("/knees", "phantom")
        for size in (64, 96)
    }
    assert len(names) == 4
    assert {name.rsplit("-", 1)[0] for name in names} == {"knees", "phantom"}


def test_seeds_are_told_which_site_they_test() -> None:
    images = make_images(10, site=list("bbbbbbaaaa"))
    images.loc[0, "used"] = False
    assert state_sites(images, make_config(split="site")) == (
        "Sites are tested in turn: a (4 images) by seeds 0, 2; b (5 images) by seeds 1, 3"
    )
    assert state_sites(images, make_config(split="site", seeds=2)).endswith("by seed 1")
