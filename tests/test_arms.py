"""Arms: the registry, what is derived from it, and an arm of this file's own, all the way through.

The arm of this file is known to no module of the package. It is a control, so it is configured,
run, judged, reported and documented as the others are, and a gain that it explains is not real.
"""

import tarfile
from collections.abc import Iterator
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from made_evidence import judge, make_evidence
from test_old_run import ARCHIVE, open_old

from osteo_ray.arms.arm import ORIGINAL, TEACHERS, Arm, MaskSource, Preset
from osteo_ray.arms.documentation import tabulate_arms
from osteo_ray.arms.pairs import (
    choose_judged,
    list_against_chance,
    list_controls,
    list_primary,
    list_secondary,
)
from osteo_ray.arms.registry import ARMS, find_roles, label_arm, list_presets, register, registered
from osteo_ray.arms.roles import Baseline, Candidate, Control, Oracle, SanityCheck
from osteo_ray.base.errors import InputError
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import read_json, read_table, write_json, write_table
from osteo_ray.config.build import build_config, read_yaml
from osteo_ray.experiment.analysis import Analysis
from osteo_ray.experiment.comparison import analyse
from osteo_ray.experiment.costs import Parts, count_work
from osteo_ray.experiment.dataset import read_pixels
from osteo_ray.experiment.keep_masks import read_keep_masks
from osteo_ray.experiment.roles import assign_roles
from osteo_ray.experiment.trials import Trial, list_arms
from osteo_ray.experiment.verdict import VERDICTS
from osteo_ray.pipeline.compare.in_process import run_in_process
from osteo_ray.report.page import write_report
from osteo_ray.statistics.sizes import Sizes

ROOT = Path(__file__).parents[1]
OWN = Arm(
    name="misplaced_mask",
    label="Misplaced random mask",
    shows="the random mask of another image × image",
    purpose="shows whether removing anything anywhere helps",
    role=Control(verdict="any crop", words="masks drawn for another image perform as well"),
    masks=MaskSource(kind="random", change="other_image"),
    presets=("controls", "full"),
)
CAMS = (
    *("gradcam_plus_plus", "xgradcam", "layercam", "hirescam", "gradcam_elementwise"),
    *("eigencam", "eigengradcam", "scorecam", "ablationcam"),
)
GUIDED = (
    *("guided_gradients", "guided_gradients_random"),
    *("guided_activations", "guided_activations_random"),
)
REGIONAL = ("given_region", "random_region", "region_silhouette")


@pytest.fixture
def own() -> Iterator[Arm]:
    with registered(OWN) as arm:
        yield arm


# The registry


def test_order_of_arms_and_presets_is_part_of_plans() -> None:
    # Plans are identified by a hash of their arms in this order: append, do not sort.
    assert tuple(ARMS) == (
        *("original", "original_retrained", "lime", "lime_crossfit", "lime_true_label"),
        *("random_mask", "other_image_mask", "silhouette", "centre_mask", "mean_mask"),
        *("complement", "gradcam", "untrained_lime", "permuted_labels"),
        *CAMS,
        *("random_trained", "random_each_epoch", "lime_box", "lime_dilated"),
        *("random_other_area", "class_agnostic", *GUIDED, *REGIONAL),
    )
    assert list_presets() == {
        "paper": ("original", "lime"),
        "controls": (
            *("original", "original_retrained", "lime", "lime_crossfit"),
            *("random_mask", "silhouette", "random_trained"),
        ),
        "demo": ("original", "original_retrained", "lime", "random_mask", "silhouette"),
        "full": tuple(arm for arm in ARMS if arm not in (*CAMS, *GUIDED, *REGIONAL)),
        "guidance": ("original", *GUIDED),
        "regions": ("original", *REGIONAL),
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "lime"}, "an arm is called `lime` already. Choose another name."),
        ({"name": "paper"}, "a preset is called `paper` already. Choose another name."),
        ({"name": "../lime"}, "lower-case letters, digits and underscores, but got `../lime`"),
        ({"name": "Lime"}, "but got `Lime`"),
        ({"role": Baseline()}, "one baseline, but `misplaced_mask` would be a second one"),
    ],
)
def test_registry_refuses(changes: dict[str, Any], words: str) -> None:
    known = dict(ARMS)
    with pytest.raises(ValueError, match="Expected") as error:
        register(replace(OWN, **changes))
    assert words in str(error.value)
    assert dict(ARMS) == known


def test_registered_arm_is_gone_after_its_block() -> None:
    def fail() -> None:
        with registered(OWN):
            assert "misplaced_mask" in ARMS
            with pytest.raises(ValueError, match="`misplaced_mask` already"):
                register(OWN)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert "misplaced_mask" not in ARMS


def test_arms_agree_with_one_another() -> None:
    assert list(find_roles(ARMS, Baseline)) == [ORIGINAL]
    precedences = [role.precedence for role in find_roles(ARMS, Candidate).values()]
    assert len(set(precedences)) == len(precedences) >= 2
    assert len({arm.label for arm in ARMS.values()}) == len(ARMS)
    for name, arm in ARMS.items():
        assert arm.name == name
        assert (arm.masks is None or arm.guidance is not None) == (arm.view == "image")
        assert set(arm.presets) <= set(get_args(Preset))
        assert arm.masks is None or arm.masks.teacher in TEACHERS
        assert arm.shuffled == isinstance(arm.role, SanityCheck)
        assert isinstance(arm.role, Oracle) == bool(arm.masks and arm.masks.target == "true")
    assert [name for name, arm in ARMS.items() if arm.is_clean_only] == ["lime_crossfit"]


def test_roles_that_the_verdict_rests_on() -> None:
    """Who is which, written by hand: a role that changes by accident changes verdicts."""
    controls = list_controls(tuple(ARMS))
    assert {name: (role.verdict, role.required) for name, role in controls.items()} == {
        "silhouette": ("leakage", "always"),
        "original_retrained": ("second training", "if training goes on"),
        "random_mask": ("any crop", "always"),
        "other_image_mask": ("any crop", "if planned"),
        "centre_mask": ("any crop", "if planned"),
        "mean_mask": ("any crop", "if planned"),
        "random_other_area": ("any crop", "if planned"),
        "random_trained": ("leakage", "if planned"),
        "complement": ("shortcut outside the region", "if planned"),
    }
    assert [name for name, role in controls.items() if role.gain_must_survive] == ["random_trained"]
    assert list(controls)[-2:] == ["random_trained", "complement"]
    assert list(controls)[:3] == ["silhouette", "original_retrained", "random_mask"]
    beats = [name for name, role in controls.items() if role.if_better_than_baseline]
    matches = [name for name, role in controls.items() if role.if_as_good_as_baseline]
    assert (beats, matches) == (["silhouette"], ["complement"])
    assert list_against_chance(tuple(ARMS)) == ["original", "permuted_labels"]
    assert choose_judged(["lime_crossfit", "lime"]) == "lime_crossfit"
    assert choose_judged(["original", "lime"]) == "lime"


def test_given_regions_are_judged_by_controls_of_their_own_if_no_lime_mask_is() -> None:
    arms = ("original", "original_retrained", *REGIONAL, "permuted_labels")
    assert choose_judged(arms) == "given_region"
    assert choose_judged((*arms, "lime")) == "lime"
    assert choose_judged((*arms, *GUIDED)) == "guided_gradients"
    found = {name: role.verdict for name, role in list_controls(arms).items()}
    assert found == {
        "region_silhouette": "leakage",
        "original_retrained": "second training",
        "random_region": "any crop",
    }
    assert not {"random_region", "region_silhouette"} & set(list_controls((*arms, "lime")))
    assert set(assign_roles(arms).needed) == {"random_region", "region_silhouette"}
    assert "original_retrained" in assign_roles(arms, goes_on=True).needed
    assert list_primary(arms)[0] == ("given_region", "original")
    judged = assign_roles((*arms, "lime"))
    assert (judged.judged, set(judged.needed)) == ("lime", {"random_mask", "silhouette"})


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "real gain"),
        ({"random_region": 0.9}, "any crop"),
        ({"region_silhouette": 0.9}, "leakage"),
        ({"given_region": 0.8}, "equivalent"),
    ],
)
def test_verdict_on_given_regions(changes: dict[str, float], verdict: str) -> None:
    means = {
        "original": 0.80, "given_region": 0.90, "random_region": 0.74, "region_silhouette": 0.55
    }  # fmt: skip
    assert judge(make_evidence({**means, **changes})).verdict == verdict
    del means["random_region"]
    found = judge(make_evidence(means))
    assert found.verdict == "inconclusive"
    assert "random_region was not planned" in found.reason


def test_primary_contrasts_of_all_arms_by_hand() -> None:
    judged = "lime_crossfit"
    assert list_primary(tuple(ARMS)) == [
        (judged, "original"),
        ("lime", "original"),
        ("lime", judged),
        ("silhouette", "original"),
        (judged, "silhouette"),
        (judged, "original_retrained"),
        (judged, "random_mask"),
        (judged, "other_image_mask"),
        (judged, "centre_mask"),
        (judged, "mean_mask"),
        (judged, "random_other_area"),
        (judged, "random_trained"),
        (judged, "complement"),
        ("random_trained", "original"),
        ("complement", "original"),
        ("lime_true_label", "original"),
        (judged, "lime_true_label"),
    ]
    assert list_secondary(tuple(ARMS)) == [
        *(("original_retrained", "original"), ("random_mask", "original")),
        *(("other_image_mask", "original"), ("centre_mask", "original")),
        *(("mean_mask", "original"), ("gradcam", "original"), ("untrained_lime", "original")),
        *((name, "original") for name in CAMS),
        *(("random_each_epoch", "original"), ("lime_box", "original")),
        *(("lime_dilated", "original"), ("random_other_area", "original")),
        *(("class_agnostic", "original"), *((name, "original") for name in GUIDED)),
        *((name, "original") for name in REGIONAL),
    ]


# Derived: documentation


def test_page_has_the_table_of_the_arms() -> None:
    text = (ROOT / "docs" / "arms.md").read_text(encoding="utf-8")
    assert f"\n\n{tabulate_arms()}\n\n" in text, "run `python -m osteo_ray.arms.documentation`"
    assert text.count("| `original` |") == 1


def test_readme_says_what_every_verdict_means() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = "\n".join(f"| *{name}* | {meaning} |" for name, meaning in VERDICTS.items())
    assert f"\n{rows}\n\n" in text


# An arm of one's own


def test_own_arm_is_documented(own: Arm) -> None:
    assert tabulate_arms().splitlines()[-1] == (
        "| `misplaced_mask` | the random mask of another image × image | shows whether removing "
        "anything anywhere helps | `controls`, `full` |"
    )
    assert label_arm("misplaced_mask") == "Misplaced random mask"


def test_own_arm_is_configured(own: Arm) -> None:
    assert build_config({"arms": ["paper", "misplaced_mask"]}).arms[-1] == "misplaced_mask"
    assert build_config({"arms": "controls"}).arms[-1] == "misplaced_mask"
    assert "misplaced_mask" not in build_config({"arms": "demo"}).arms
    with pytest.raises(InputError, match="Did you mean `misplaced_mask`") as error:
        build_config({"arms": ["original", "misplaced_msk"]})
    assert "region_silhouette, misplaced_mask, or a preset" in str(error.value)


def test_unregistered_arm_is_refused() -> None:
    with pytest.raises(InputError, match="but got `misplaced_mask`"):
        build_config({"arms": ["original", "misplaced_mask"]})


def test_arm_whose_masks_must_be_out_of_fold_is_not_for_the_papers_protocol() -> None:
    arm = replace(OWN, masks=MaskSource("fold", kind="random"))
    with registered(arm):
        paper = build_config({"data": "/d", "protocol": "paper", "arms": "controls"})
        assert not {"misplaced_mask", "lime_crossfit"} & set(paper.arms)
        with pytest.raises(InputError, match="Expected no misplaced_mask with --protocol paper"):
            build_config({"protocol": "paper", "arms": ["original", "lime", "misplaced_mask"]})


def test_own_arm_is_compared(own: Arm) -> None:
    arms = ("original", "lime", "misplaced_mask", "silhouette", "random_mask")
    assert list_primary(arms) == [
        ("lime", "original"),
        ("silhouette", "original"),
        ("lime", "silhouette"),
        ("lime", "random_mask"),  # in the order of the registry, within a verdict
        ("lime", "misplaced_mask"),
    ]
    assert ("misplaced_mask", "original") in list_secondary(arms)


def test_own_arm_costs_a_training_and_no_explanations(own: Arm) -> None:
    def count(*arms: str) -> tuple[int, int]:
        work = count_work(
            n_models=1, n_seeds=1, arms=arms, parts=Parts(70, 20, 10), epochs=1,
            passes_of=lambda _: 9, crossfit_folds=3, protocol="clean",
        )  # fmt: skip
        return work.n_trainings, work.n_explanations

    assert count("original", "lime") == (2, 100)
    assert count("original", "lime", "misplaced_mask") == (3, 100)


# The verdict

MEANS = {
    "original": 0.80, "lime": 0.90, "random_mask": 0.74, "silhouette": 0.55, "misplaced_mask": 0.75
}  # fmt: skip


def test_own_control_that_performs_as_well_prevents_a_real_gain(own: Arm) -> None:
    assert judge(make_evidence(MEANS)).verdict == "real gain"
    explained = judge(make_evidence({**MEANS, "misplaced_mask": 0.90}))
    assert explained.verdict == "any crop"
    assert "masks drawn for another image" in explained.reason


def test_own_control_without_results_prevents_a_real_gain(own: Arm) -> None:
    missing = judge(make_evidence(MEANS, seeds={"misplaced_mask": ()}))
    assert missing.verdict == "inconclusive"
    assert "misplaced_mask lacks seeds 0, 1, 2" in missing.reason
    finished = {name: mean for name, mean in MEANS.items() if name != OWN.name}
    assert judge(make_evidence(finished)).verdict == "real gain"  # not planned, nor required


@pytest.mark.parametrize("goes_on", [False, True])
def test_own_control_may_be_required(goes_on: bool) -> None:
    role = Control("second training", "it performs as well", required="if training goes on")
    finished = {name: mean for name, mean in MEANS.items() if name != OWN.name}
    finished["original_retrained"] = 0.8
    with registered(replace(OWN, role=role)):
        judged = judge(make_evidence(finished), assign_roles(tuple(finished), goes_on=goes_on))
    assert judged.verdict == ("inconclusive" if goes_on else "real gain")
    assert ("misplaced_mask was not planned" in judged.reason) == goes_on


def test_own_leak_is_found_before_other_controls() -> None:
    role = Control("leakage", "its file names tell as much")
    with registered(replace(OWN, role=role)):
        found = judge(make_evidence({**MEANS, "misplaced_mask": 0.90, "random_mask": 0.90}))
    assert found.verdict == "leakage"
    assert "its file names tell as much" in found.reason


def test_own_check_that_beats_chance_is_a_leak() -> None:
    with registered(replace(OWN, role=SanityCheck("Noise is learned, so it leaks."))):
        evidence = make_evidence(MEANS)
        judged = judge(evidence, p_shuffled={"misplaced_mask": 0.01})
        assert judge(evidence, p_shuffled={"misplaced_mask": 0.5}).verdict == "real gain"
    assert judged.verdict == "leakage"
    assert judged.reason.startswith("Noise is learned, so it leaks.")


def test_own_candidate_of_higher_precedence_is_judged() -> None:
    role = Candidate("other masks", precedence=2, if_only_lower_gains="Only LIME gains.")
    with registered(replace(OWN, role=role)):
        assert choose_judged(tuple(MEANS)) == "misplaced_mask"
        only_lime = judge(make_evidence({**MEANS, "misplaced_mask": 0.80}))
        gain = judge(make_evidence({**MEANS, "misplaced_mask": 0.95}))
    assert (only_lime.verdict, gain.verdict) == ("leakage", "real gain")
    assert only_lime.reason.startswith("Only LIME gains.")


def test_arm_with_shuffled_labels_takes_part_in_no_contrast() -> None:
    rng = np.random.default_rng(1)
    ids = [f"i{number}" for number in range(40)]
    labels = np.array(["normal", "worn"] * 20)
    tables = []
    for arm in ("original", "lime", OWN.name):
        for seed in range(3):
            own = np.roll(labels, 1) if arm == OWN.name else labels
            p_worn = np.clip(0.5 + 0.4 * (own == "worn") - 0.3 * rng.random(40), 0, 1)
            columns = {"model": "m", "seed": seed, "arm": arm, "split": "test", "image_id": ids}
            tables.append(
                pd.DataFrame({**columns, "label": own, "p_normal": 1 - p_worn, "p_worn": p_worn})
            )
    images = pd.DataFrame({"image_id": ids, "group": np.arange(40)})
    analysis = Analysis(
        models=("m",), arms=("original", "lime", OWN.name), seeds=(0, 1, 2), metric="accuracy",
        alpha=0.05, margin=0.03, sizes=Sizes(n_test=40.0, n_train=280.0),
        classes=("normal", "worn"), positive_class="worn",
    )  # fmt: skip
    predictions = pa.Table.from_pandas(pd.concat(tables), preserve_index=False)
    with registered(OWN), pytest.raises(InputError, match="was tested on others"):
        analyse(predictions, images, analysis)  # its images would have to be labelled as others
    with registered(replace(OWN, shuffled=True, role=SanityCheck("It leaks."))):
        results, comparison = analyse(predictions, images, analysis)
    assert set(results["arm"]) == {"original", "lime", OWN.name}
    assert [(one["arm"], one["baseline"]) for one in comparison["contrasts"]] == [
        ("lime", "original")
    ]
    assert set(comparison["shuffled"]) == {OWN.name}


# A run, in this process


def test_own_arm_is_run_judged_and_reported(own: Arm, tmp_path: Path) -> None:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    run = Run(tmp_path / "run")
    stored = read_json(run.comparison)
    arms = [*dict.fromkeys(row["arm"] for row in stored["arms"]), OWN.name]
    experiment = open_old(run, arms=arms)
    pixels = read_pixels(run, experiment.image_ids.tolist(), experiment.settings.image_size)
    run_in_process(experiment, pixels)

    # It shows the random masks of other images of the same part of the split.
    shown = read_keep_masks(experiment, Trial("test_byobnet", 0, OWN.name))
    drawn = read_keep_masks(experiment, Trial("test_byobnet", 0, "random_mask"))
    assert shown is not None
    assert drawn is not None
    for split in ("train", "validation", "test"):
        rows = experiment.splits[0] == split
        areas = [sorted(masks[rows].sum((1, 2)).tolist()) for masks in (shown.masks, drawn.masks)]
        assert areas[0] == areas[1]
        changed = (shown.masks[rows] != drawn.masks[rows]).any((1, 2))
        assert changed.mean() > 0.9  # exact copies of an image have the same mask

    trials = list_arms(experiment)
    predictions = [pq.read_table(experiment.path_of(t) / "predictions.parquet") for t in trials]
    known = read_table(run.predictions)
    joined = pd.concat([table.to_pandas() for table in predictions])[known.column_names]
    write_table(run.predictions, type(known).from_pandas(joined, known.schema, False))
    images = read_table(run.images).to_pandas()[["image_id", "group"]]
    results, comparison = analyse(read_table(run.predictions), images, Analysis.of(experiment))
    assert {(row["seed"], row["arm"]) for _, row in results.iterrows()} >= {(0, OWN.name)}
    pairs = {(one["arm"], one["baseline"]): one["family"] for one in comparison["contrasts"]}
    assert pairs["lime_crossfit", OWN.name] == "primary"
    assert pairs[OWN.name, "original"] == "primary"

    write_json(run.comparison, comparison)
    write_table(run.results, type(known).from_pandas(results, preserve_index=False))
    run.config.write_text(yaml.safe_dump({**read_yaml(run.config), "arms": arms}))
    page = write_report(run).read_text(encoding="utf-8")
    assert f"<b>{OWN.label}</b>: {OWN.meaning[0].upper()}{OWN.meaning[1:]}." in page
    assert page.count(OWN.label) > 2
    assert [name for name, meaning in VERDICTS.items() if escape(meaning) not in page] == []
