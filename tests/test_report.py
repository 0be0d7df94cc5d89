"""The report, made from a fake run of two classes, two models and two seeds."""

import base64
import hashlib
import html
import io
import re
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image
from rich.console import Console

from osteo_ray.base.damage import DamagedError
from osteo_ray.base.errors import InputError
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import (
    FAITHFULNESS,
    HEATMAPS,
    IMAGES,
    MASKS,
    PIXELS,
    REJECTS,
    SPLITS,
    SUPERPIXELS,
    read_json,
    read_parts,
    write_json,
    write_table,
    write_yaml,
)
from osteo_ray.commands.compare_tables import show_comparison
from osteo_ray.config.build import build_config
from osteo_ray.data.masks import pack_mask
from osteo_ray.data.settings import BACKGROUNDS, Background
from osteo_ray.experiment.mask_notes import FAILED, UNSTABLE, count_mask_notes
from osteo_ray.report.beside import write_beside
from osteo_ray.report.forest import draw_forest
from osteo_ray.report.gallery import MOST_CASES, ArmAnswer, ShownCase, choose_cases
from osteo_ray.report.page import _count_leaks, write_report
from osteo_ray.report.pictures import PANEL_LABELS, compose_panels, draw_panels
from osteo_ray.report.plots import draw_plots
from osteo_ray.report.reliability import draw_reliability, tabulate_reliability
from osteo_ray.report.results import Shown, read_shown
from osteo_ray.report.seeds_figure import draw_paired
from osteo_ray.report.style import encode_svg
from osteo_ray.report.templates import _mark_code
from osteo_ray.statistics.metrics.registry import METRICS
from osteo_ray.statistics.thresholds import OPERATING_NAMES

SIZE = 32
HOSTILE = "<script>alert('x')</script>"
CLASSES = ["a & b", HOSTILE]
MODELS = ["efficientnet_b0", "test_byobnet"]
ARMS = ["original", "lime", "random_mask", "silhouette"]
SCORES = dict.fromkeys(METRICS, 0.75)


def make_comparison() -> dict[str, Any]:
    contrast = {
        "arm": "lime", "baseline": "original", "metric": "accuracy", "n_seeds": 2,
        "difference": -0.0213, "sd": 0.01, "low": -0.3, "high": 0.2575, "p_corrected_t": 0.0123,
        "p_wilcoxon": 0.5, "p_holm": 0.0246, "p_equivalence": None, "equivalent": False,
        "family": "primary", "bootstrap_low": -0.0444, "bootstrap_high": 0.0666,
        "improvement": 0.75, "probability_worse": 0.1, "probability_equivalent": 0.38,
        "probability_better": 0.52,
        "smallest_detectable": 0.31, "note": "Few seeds.", "differences": [-0.03, -0.0126],
        "seeds": [0, 1],
    }  # fmt: skip
    contrast |= {"decisive_low": contrast["low"], "decisive_high": contrast["high"]}
    fine = {"mean": 0.8125, "sd": 0.0321, "low": 0.7011, "high": 0.9239, "note": None}
    unknown = {**dict.fromkeys(fine), "note": "Undefined for every seed."}
    summary = dict.fromkeys((*SCORES, *OPERATING_NAMES), fine) | {"auc": unknown}
    point = {
        **{"arm": "lime", "seed": 1, "n_positive": 2, "n_negative": 3, "threshold": 0.4321},
        **{"sensitivity": 0.5, "sensitivity_low": 0.0945, "sensitivity_high": 0.9055},
        **{"specificity": None, "specificity_low": None, "specificity_high": None},
        **{"sensitivity_at_threshold": 1.0, "sensitivity_at_threshold_low": 0.3424},
        **{"sensitivity_at_threshold_high": 1.0, "specificity_at_threshold": None},
        **{"specificity_at_threshold_low": None, "specificity_at_threshold_high": None},
        **{"ppv_at_threshold": 0.67, "npv_at_threshold": None, "note": f"None of {HOSTILE}."},
    }
    pair = {
        **{"arm": "lime", "baseline": "original", "seed": 1, "n_images": 4, "n01": 5, "n10": 6},
        **{"mcnemar_p": 0.0077, "auc_difference": 0.1234, "auc_low": -0.0101},
        **{"auc_high": 0.2569, "delong_p": 0.0456, "note": None},
    }
    lost = {**dict.fromkeys(pair), "arm": "lime", "baseline": "original", "seed": 0}
    lost["note"] = "No test predictions of lime."
    return {
        "schema_version": 2,
        "models": MODELS,
        "judged": "lime",
        "metric": "accuracy",
        "alpha": 0.05,
        "margin": 0.03,
        "seeds": [0, 1],
        "n_train": 6.0,
        "n_test": 4.0,
        "classes": CLASSES,
        "positive_class": HOSTILE,
        "split": "grouped",
        "arms": [
            {"model": m, "arm": a, "n_seeds": 2, "metrics": summary} for m in MODELS for a in ARMS
        ],
        "contrasts": [
            contrast | {"model": model} | changes
            for model in MODELS
            for changes in (
                {},
                {"arm": "random_mask", "family": "secondary", "note": None, "p_holm": 0.5},
            )
        ],
        "shares": [
            {
                **{"model": MODELS[0], "arm": "lime", "control": "random_mask"},
                **{"share": 0.3333, "low": 0.1111, "high": 0.5555, "note": None},
            },
            {
                **{"model": MODELS[1], "arm": "lime", "control": "random_mask"},
                **{"share": None, "low": None, "high": None, "note": "No share: no gain."},
            },
        ],
        "shuffled": {"permuted_labels": {MODELS[0]: 0.4321}},
        "looks": [],
        "verdicts": [
            {
                **{"model": m, "verdict": "leakage", "reason": f"As {HOSTILE} says."},
                **{"next": "Look.", "remarks": [f"{HOSTILE} is near."]},
            }
            for m in MODELS
        ],
        "verdict": {
            **{"verdict": "leakage", "reason": "The outline carries the label."},
            **{"next": "Look at the masks.", "remarks": []},
        },
        "missing": [],
        "operating_points": [point | {"model": model} for model in MODELS],
        "per_seed": [row | {"model": model} for model in MODELS for row in (lost, pair)],
    }


def make_run(folder: Path) -> Run:
    run = Run(folder / "run")
    run.root.mkdir()
    settings = {"models": MODELS, "seeds": 2, "image_size": SIZE, "arms": ARMS}
    config = build_config(settings).model_dump(mode="json")
    run.config.write_text(yaml.safe_dump(config))
    write_json(run.comparison, make_comparison())
    write_json(run.environment, {"versions": {"ray": "2.60.0"}, "durations_s": {"explain": 3725}})
    paths = [f"{CLASSES[i % 2]}/{i}.png" for i in range(10)]
    write_json(
        run.audit,
        {
            "n_images": 10,
            "n_rejects": 1,
            "classes": dict.fromkeys(CLASSES, 5),
            "n_groups": 9,
            "copies": [[paths[0], paths[9]]],
            "conflicts": [],
            "set_aside": 0,
        },
    )
    images = [
        {
            "image_id": str(i),
            "path": paths[i],
            "label": CLASSES[i % 2],
            "group": i % 9,
            "width": SIZE,
            "height": SIZE,
            "digest": str(i),
            "conflict": False,
        }
        for i in range(10)
    ]
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (10, SIZE, SIZE), np.uint8)
    splits = [
        {"seed": seed, "image_id": str(i), "split": "test" if i < 4 else "train"}
        for seed in (0, 1)
        for i in range(10)
    ]
    trials = [
        {"model": model, "seed": seed, "arm": arm, "split": "test"}
        for model in MODELS
        for seed in (0, 1)
        for arm in ARMS
    ]
    predictions = [
        trial | {"image_id": str(i), "label": CLASSES[i % 2]}
        | {f"p_{name}": float(name == CLASSES[i == 3]) for name in CLASSES}
        for trial in trials
        for i in range(4)
    ]  # fmt: skip
    masks = [
        {
            "model": model,
            "seed": seed,
            "teacher": teacher,
            "target": "predicted",
            "kind": kind,
            "image_id": str(i),
            "keep_mask": b"" if i == 0 else pack_mask(rng.random((SIZE, SIZE)) < 0.3),
            "local_fit": 0.5 if kind == "lime" else None,
            "error": "no superpixels" if i == 0 else None,
        }
        for model in MODELS
        for seed in (0, 1)
        for teacher in ("original", "fold-0")  # the latter serves a control, and is not shown
        for kind in ("lime", "random")
        for i in range(4)
    ]
    heatmaps = [
        {"model": MODELS[0], "seed": 0, "image_id": str(i), "heatmap": pixels[i].tobytes()}
        for i in (0, 1)
    ]
    write_table(run.images, pa.Table.from_pylist(images, IMAGES))
    rejects = [{"path": "a/broken.png", "reason": f"not {HOSTILE}"}]
    write_table(run.rejects, pa.Table.from_pylist(rejects, REJECTS))
    write_table(run.splits, pa.Table.from_pylist(splits, SPLITS))
    content = [
        {"image_id": str(i), "digest": str(i), "pixels": image.tobytes()}
        for i, image in enumerate(pixels)
    ]
    write_table(run.pixels / "part.parquet", pa.Table.from_pylist(content, PIXELS))
    write_table(run.masks / "model" / "part.parquet", pa.Table.from_pylist(masks, MASKS))
    write_table(run.heatmaps / "model" / "part.parquet", pa.Table.from_pylist(heatmaps, HEATMAPS))
    write_table(run.predictions, pa.Table.from_pylist(predictions))
    results = [trial | {"n_images": 4} | SCORES for trial in trials]
    write_table(run.results, pa.Table.from_pylist(results))
    return run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make_run(tmp_path)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> "Reader":
    """The page of a run that nothing was changed in."""
    return read_page(make_run(tmp_path_factory.mktemp("untouched")))


class Reader(HTMLParser):
    """Collects the tags, the text and the sources of pictures of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.page = page
        self.tags: list[str] = []
        self.pictures: list[dict[str, str | None]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "img":
            self.pictures.append(dict(attrs))

    def handle_data(self, data: str) -> None:
        self.text += data


def read_page(run: Run) -> Reader:
    assert write_report(run) == run.report
    return Reader(run.report.read_text(encoding="utf-8"))


def change_comparison(run: Run, change: Callable[[dict[str, Any]], object]) -> None:
    comparison = read_json(run.comparison)
    change(comparison)
    write_json(run.comparison, comparison)


def decode(uri: str | None) -> str:
    assert uri is not None
    return base64.b64decode(uri.partition(",")[2]).decode()


def test_page_shows_verdict_and_figures(page: Reader) -> None:
    text = " ".join(page.text.split())
    for expected in (
        "Leakage",
        "The outline carries the label.",
        "0.812 ± 0.032",
        "paper 0.9189",
        "not 0.9324",  # the paper's own matrix contradicts that figure
        "−2.1[−30.0, +25.8]",  # the interval is on a line of its own
        "Few seeds.",
        "Nadeau and Bengio",
        "1 h 2 min",
        "Not a medical device",
        "a/broken.png",
    ):
        assert expected in text, expected
    assert "This split leaks" not in text
    assert "missing" not in text


def test_page_shows_all_metrics_and_each_seed(page: Reader) -> None:
    text = _space_cells(page.page)
    for expected in (
        "Balanced accuracy 0.812 ± 0.032 0.701 to 0.924",
        "Brier score and Calibration error: lower is better",
        "AUC – 1 – 1 – 1 – 1",
        "1 Undefined for every seed.",
        "at a prevalence of the test images’ own",
        f"{MODELS[0]} 1 LIME mask 0.50 [0.09, 0.91] – 0.432 1.00 [0.34, 1.00] – 0.67 –",
        f"None of {HOSTILE}.",
        f"{MODELS[1]} 1 LIME mask − Original 4 6 5 0.008 +12.3 [−1.0, +25.7] 0.046",
        f"{MODELS[1]} 0 LIME mask − Original – – – – – – No test predictions of lime.",
    ):
        assert expected in text, expected


def _space_cells(page: str) -> str:
    """Return the text of a page with a space between cells, as a reader sees it."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def test_page_of_a_run_without_descriptions_has_none(run: Run) -> None:
    def forget(comparison: dict[str, Any]) -> None:
        del comparison["per_seed"], comparison["operating_points"]
        for row in comparison["arms"]:
            row["metrics"] = {name: {"mean": 0.5, "sd": None} for name in ("accuracy", "auc")}

    change_comparison(run, forget)
    text = read_page(run).text
    assert "McNemar" not in text
    assert "Balanced accuracy" not in text


def test_reliability_compares_original_and_lime(run: Run) -> None:
    def draw() -> str | None:
        shown = Shown(run, make_comparison() | {"baseline": "original"})
        return encode_svg(draw_reliability(shown, tabulate_reliability(shown)))

    svg = decode(draw())
    assert svg.count(">LIME mask<") == svg.count(">Original<") == len(MODELS)
    assert "Share of &lt;script&gt;" in svg
    run.predictions.unlink()
    assert draw() is None


def test_terminal_shows_arms_and_contrasts() -> None:
    text = io.StringIO()
    comparison = make_comparison()
    show_comparison(Console(file=text, width=100), comparison | {"alpha": 0.0123, "n_test": 500})
    lines = [" ".join(line.split()) for line in text.getvalue().splitlines()]
    assert "arm Accuracy ± sd sens. spec. AUC Brier calib." in lines
    assert lines.count("random_mask 0.812 ± 0.032 0.812 0.812 – 0.812 0.812") == len(MODELS)
    assert any(line.startswith("lime − original −0.021 −0.300 … +0.258 0.025") for line in lines)
    assert "contrast mean 98.8 % interval p" in lines
    share = f"{MODELS[0]}: random_mask accounts for 33 % of the gain (98.8 % interval 11 % … 56 %)"
    assert share in lines
    text = io.StringIO()
    against = comparison["shares"][0] | {"share": -2.12, "low": -4.0, "high": -0.5}
    show_comparison(Console(file=text, width=100), comparison | {"shares": [against]})
    assert f"{against['model']}: {against['control']} does not share the gain" in text.getvalue()
    assert "212" not in text.getvalue()
    three = comparison | {"classes": ["a", "b", "c"], "arms": comparison["arms"][:1]}
    text = io.StringIO()
    show_comparison(Console(file=text, width=100), three)
    assert "sens." not in text.getvalue()
    assert "3 classes: auc is a macro average over them" in text.getvalue()
    few = io.StringIO()
    show_comparison(Console(file=few, width=100), comparison | {"n_test": 74})
    assert "calib." not in few.getvalue()  # a perfect model averages .12 of 74 images
    assert f"sensitivity and specificity for {comparison['positive_class']}" in few.getvalue()


def add_coverage(comparison: dict[str, Any]) -> None:
    iou = {"mean": 0.4321, "low": 0.4, "high": 0.46, "more": 0.1234, "more_low": -0.01}
    alone = dict.fromkeys(("low", "high", "more", "more_low", "more_high"))
    figures = {
        "iou": {**iou, "more_high": 0.26},
        **{name: {"mean": 0.5551, **alone} for name in ("recall", "precision")},
    }
    rows = [{"model": MODELS[0], "kind": "lime", "n_seeds": 2, "figures": figures}]
    comparison["coverage"] = {"area": 0.25, "masks": rows}


def test_coverage_of_regions_is_shown_where_there_are_any(run: Run) -> None:
    assert "given regions" not in read_page(run).text
    change_comparison(run, add_coverage)
    text = _space_cells(read_page(run).page)
    assert "A region takes 25 % of its image on average" in text
    shown = f"{MODELS[0]} LIME 2 0.432 [0.400, 0.460] 0.555 0.555 – 0.123 [−0.010, 0.260]"
    assert shown in text
    printed = io.StringIO()
    comparison = make_comparison()
    add_coverage(comparison)
    show_comparison(Console(file=printed, width=120), comparison)
    lines = [" ".join(line.split()) for line in printed.getvalue().splitlines()]
    title = "masks against the given regions (25 % of an image), test images"
    assert lines.count(f"{MODELS[0]}: {title}") == 1
    assert f"{MODELS[1]}: {title}" not in lines
    assert "lime 0.432 0.400 … 0.460 0.555 0.555 – +0.123 −0.010 … +0.260" in lines


@pytest.mark.parametrize(
    ("judged", "asked", "done"),
    [
        ("lime", "training on explanation-masked images", "explained with LIME"),
        ("given_region", "training on regions alone", "on the region of each that was given"),
        ("guided_gradients", "telling the network where to look", "on the same images with a pen"),
    ],
)
def test_page_says_what_was_compared(run: Run, judged: str, asked: str, done: str) -> None:
    change_comparison(run, lambda comparison: comparison.update(judged=judged))
    text = " ".join(read_page(run).text.split())
    assert f"Does {asked} make the classifier better" in text
    assert done in text
    assert ("LIME samples" in text) == (judged != "given_region")


def test_page_of_regions_alone_claims_no_explanations(run: Run) -> None:
    assert "the network trained on the originals is explained on every image" in read_page(run).text
    arms = ["original", "given_region", "random_region"]
    settings = {"models": MODELS, "seeds": 2, "image_size": SIZE, "arms": arms}
    write_yaml(run.config, build_config(settings).model_dump(mode="json"))
    change_comparison(run, lambda comparison: comparison.update(judged="given_region"))
    text = read_page(run).text
    assert "is explained on every image" not in text
    assert "No network was explained. Arms of given regions keep the region that was given" in text


def test_large_sets_are_counted_in_digits(run: Run) -> None:
    change_comparison(run, lambda comparison: comparison.update(n_test=1234.0, n_train=98765.4))
    text = read_page(run).text
    assert "(1234 / 98765)" in text
    assert re.search(r"\de\+\d", text) is None


@pytest.mark.parametrize(
    ("verdict", "tone"),
    [
        *(("real gain", "good"), ("equivalent", ""), ("any region", "bad")),
        *(("explained by a control", "bad"), ("leakage", "bad"), ("nothing learned", "")),
    ],
)
def test_verdicts_have_one_tone_on_every_page(run: Run, verdict: str, tone: str) -> None:
    def change(comparison: dict[str, Any]) -> None:
        for one in (comparison["verdict"], *comparison["verdicts"]):
            one["verdict"] = verdict

    change_comparison(run, change)
    assert f'class="verdict {tone}"' in read_page(run).page
    run.config.unlink()
    assert f'class="verdict {tone}"' in read_page(run).page
    write_beside([read_shown(run)] * 2, run.root / "beside.html")
    assert f'<div class="{tone}"><b>' in (run.root / "beside.html").read_text()


def test_images_are_counted_beside_radiographs_and_not_beside_groups_of_patients(run: Run) -> None:
    assert "distinct radiograph" not in read_page(run).text  # an audit of an earlier version
    audit = read_json(run.audit)
    write_json(run.audit, {**audit, "n_groups": 3, "n_radiographs": 9})
    assert "10 images of 9 distinct radiographs" in read_page(run).text


def test_page_without_an_audit_claims_nothing_of_copies_and_files(run: Run) -> None:
    said = ("No copies contradict each other.", "a/broken.png", "Copies: 1 group")
    assert all(words in read_page(run).text for words in said)
    run.audit.unlink()
    run.rejects.unlink()
    text = _space_cells(read_page(run).page)
    assert "No audit of the images was found in this run" in text
    assert "Copy groups –" in text
    for words in ("contradict each other", "occurs twice", "Every file", "Copies: 0"):
        assert words not in text


def test_copies_in_training_are_counted(page: Reader) -> None:
    # Image 9 is a copy of image 0, which is in the test set of both seeds.
    assert "2 of 8 test images" in page.text


def test_confusion_is_summed_over_seeds(page: Reader) -> None:
    # Of four test images per seed, only image 3 is predicted to be of the second class.
    cells = re.findall(r"<td style=[^>]*>(\d+)<small>", page.page)
    assert cells[:4] == ["4", "0", "2", "2"]


def test_hostile_names_are_escaped(page: Reader) -> None:
    assert page.tags.count("script") == 1  # the page's own
    assert HOSTILE in page.text  # as text, it is shown as it is


def test_page_needs_nothing_from_outside(page: Reader) -> None:
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub(r"base64,[^\"]*", "", page.page))
    assert not {"link", "iframe", "object", "form"} & set(page.tags)
    assert all((picture["src"] or "").startswith("data:image/") for picture in page.pictures)
    assert all(picture["alt"] for picture in page.pictures)


def test_random_split_and_missing_trainings_are_announced(run: Run) -> None:
    lost = {"model": MODELS[0], "seed": 1, "arm": "lime", "reason": f"died of {HOSTILE}"}
    change_comparison(run, lambda found: found.update(split="random", missing=[lost]))
    text = read_page(run).text
    assert (
        "This split leaks: copies of test images were in the training set, so these figures "
        "measure memory as well as skill. Use --split grouped."
    ) in text
    assert "1 planned training is missing." in text
    assert f"died of {HOSTILE}" in text


def test_page_says_what_is_left_out_where_all_seeds_test_the_same_images(run: Run) -> None:
    change_comparison(run, lambda found: found.update(split="given", fixed_test_set=True))
    text = read_page(run).text
    assert "All seeds test the same images, so the two-way error" in text
    assert "What rests on the corrected t is left out here" in text
    assert "Nadeau and Bengio" not in text
    # An earlier version did not write it; there, the split that was asked for tells.
    change_comparison(run, lambda found: found.pop("fixed_test_set"))
    assert read_page(run).text == text


def test_sites_that_are_left_out_in_turn_are_no_random_split(run: Run) -> None:
    stored = yaml.safe_load(run.config.read_text())
    run.config.write_text(yaml.safe_dump({**stored, "split": "site"}))
    text = read_page(run).text
    assert "Each seed tests all images of one site, and the sites take turns" in text
    assert "So copies of test images may be in training" not in text


def test_leaks_by_hand(tmp_path: Path) -> None:
    parts = {0: "a train, b test, c test", 1: "a train, b validation, c test, d test"}
    rows = [
        dict(zip(("seed", "image_id", "split"), (seed, *word.split()), strict=True))
        for seed, words in parts.items()
        for word in words.split(", ")
    ]
    run = Run(tmp_path)
    groups = {"a": 5, "b": 5, "c": 1, "d": 2}
    images = [{"image_id": name, "group": group} for name, group in groups.items()]
    assert _count_leaks(run, images) == (0, 0)
    write_table(run.splits, pa.Table.from_pylist(rows, SPLITS))
    assert _count_leaks(run, images) == (1, 4)


def test_gallery_shows_each_image_of_each_model_as_far_as_it_is_kept(page: Reader) -> None:
    names = [(picture["alt"] or "").partition(":")[0] for picture in page.pictures]
    assert names.count("Original") == 8  # four test images, two models
    assert names.count("Grad-CAM") == 2  # heat maps of the first model only
    assert names.count("LIME mask") == names.count("Silhouette") == 6  # image 0 has no mask
    assert "Not kept in this run: Superpixels, Weights." in page.text
    assert page.text.count("no mask: no superpixels") == len(MODELS)
    # Of the second class, only image 3 is said to be of it; so image 1 is a wrong one.
    wrong = re.findall(r'data-wrong="([^"]*)"', page.page)
    assert sorted(len(arms.split()) for arms in wrong) == [0] * 6 + [len(ARMS)] * len(MODELS)


def test_superpixels_and_weights_are_shown_where_they_are_kept(run: Run) -> None:
    pieces = np.arange(SIZE * SIZE, dtype=np.uint16).reshape(SIZE, SIZE) // (SIZE * SIZE // 4)
    row = {"image_id": "1", "superpixels": pieces.tobytes()}
    write_table(
        run.place_shown_superpixels() / "1.parquet", pa.Table.from_pylist([row], SUPERPIXELS)
    )
    part = run.masks / "model" / "part.parquet"
    rows = [{**one, "weights": [1.0, -1.0, 0.0, 0.5]} for one in pq.read_table(part).to_pylist()]
    write_table(part, pa.Table.from_pylist(rows, MASKS))
    names = [(picture["alt"] or "").partition(":")[0] for picture in read_page(run).pictures]
    assert names.count("Superpixels") == names.count("Weights") == len(MODELS)


def test_weights_are_blue_for_the_class_and_amber_against_it() -> None:
    image = np.full((SIZE, SIZE), 128, np.uint8)
    pieces = np.repeat([0, 1], SIZE * SIZE // 2).astype(np.uint16).reshape(SIZE, SIZE)
    panels = compose_panels(image, None, None, None, superpixels=pieces, weights=[2.0, -1.0])
    tinted = panels["Weights"]
    assert tinted is not None
    blue, amber = tinted[20, 20].astype(int), tinted[-20, 20].astype(int)
    assert blue[2] > blue[0] + 40
    assert amber[0] > amber[2] + 40
    edges = panels["Superpixels"]
    assert edges is not None
    assert (edges[:, 5] == (255, 176, 0)).all(axis=1).sum() == 2  # either side of one edge


def test_gallery_takes_outcomes_in_turn_and_is_bounded() -> None:
    shown = Shown(Run(Path("none")), make_comparison() | {"baseline": "original"})

    def make(number: int, *, right: bool, unstable: bool) -> ShownCase:
        answers = tuple(ArmAnswer(arm, "a", 0.9, right) for arm in ("original", "lime"))
        model, label = MODELS[number % 2], CLASSES[number // 2 % 2]
        return ShownCase(model, str(number), label, str(number), answers, unstable, "")

    cases = [make(n, right=n % 40 > 3, unstable=n % 40 in (4, 5, 6, 7)) for n in range(400)]
    chosen = choose_cases(cases, shown, {(MODELS[0], "396")})
    assert len(chosen) == MOST_CASES
    groups = Counter((case.model, case.label) for case in chosen)
    assert set(groups.values()) == {MOST_CASES // 4}
    of_first = [case for case in chosen if (case.model, case.label) == (MODELS[0], CLASSES[0])]
    assert sum(bool(case.wrong) for case in of_first) >= 4
    assert sum(case.is_unstable for case in of_first) >= 3
    assert len({(case.model, case.image_id) for case in chosen}) == MOST_CASES
    assert any(case.image_id == "396" for case in chosen)  # it has a heat map


def test_script_is_the_only_one_that_the_page_allows(page: Reader) -> None:
    assert page.tags.count("script") == 1
    source = re.search(r"<script>(.*)</script>", page.page, re.DOTALL)
    assert source is not None
    digest = base64.b64encode(hashlib.sha256(source[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page.page
    assert "unsafe-inline" not in page.page.partition("script-src")[2].partition('"')[0]


def test_run_with_the_least_is_reported(run: Run) -> None:
    for path in (run.environment, run.audit, run.rejects, run.predictions, run.results):
        path.unlink()
    for directory in (run.masks, run.heatmaps):
        for path in directory.rglob("*.parquet"):
            path.unlink()

    def empty(comparison: dict[str, Any]) -> None:
        comparison.update(arms=[], contrasts=[], verdicts=[])

    change_comparison(run, empty)
    page = read_page(run)
    assert "Not kept in this run: Superpixels, Weights, LIME region, LIME mask" in page.text
    assert sum((picture["alt"] or "").startswith("Original") for picture in page.pictures) == 8


def test_null_figures_become_dashes(run: Run) -> None:
    def forget(comparison: dict[str, Any]) -> None:
        for contrast in comparison["contrasts"]:
            unknown = ("difference", "sd", "low", "high", "p_corrected_t", "p_wilcoxon", "p_holm")
            contrast.update(dict.fromkeys((*unknown, "smallest_detectable", "note")))
            contrast.update(differences=[], seeds=[], n_seeds=0)

    change_comparison(run, forget)
    assert "–" in read_page(run).text


def test_same_tables_give_the_same_page(run: Run) -> None:
    first = write_report(run).read_bytes()
    assert write_report(run).read_bytes() == first


@pytest.mark.parametrize("background", get_args(Background))
def test_page_says_what_fills_the_rest(run: Run, background: Background) -> None:
    config = yaml.safe_load(run.config.read_text())
    run.config.write_text(yaml.safe_dump({**config, "background": background}))
    assert f"and {BACKGROUNDS[background]} fills the rest." in write_report(run).read_text()


def test_run_without_comparison_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"comparison\.json is missing"):
        write_report(Run(tmp_path))


@pytest.mark.parametrize(
    ("record", "changes", "told"),
    [
        ("comparison", {"shares": None}, "`shares` is not a list"),
        ("comparison", {"seeds": 5}, "`seeds` is not a list"),
        ("comparison", {"contrasts": [{"model": "m"}]}, r"`contrasts\.1\.arm` is missing"),
        ("environment", {"created": 5}, "`created` is not text"),
    ],
)
def test_records_of_another_form_are_damaged(
    run: Run, record: str, changes: dict[str, Any], told: str
) -> None:
    place = getattr(run, record)
    write_json(place, {**read_json(place), **changes})
    with pytest.raises(DamagedError, match=told):
        write_report(run)


def test_plots_keep_text_as_text() -> None:
    contrast = make_comparison()["contrasts"][0] | {"model": "$a_b$ <i>"}
    forest = decode(encode_svg(draw_forest([contrast], alpha=0.05)))
    assert "$a_b$ &lt;i&gt;" in forest
    assert "LIME mask − Original" in forest
    assert "−2.1  [−30.0, +25.8]" in forest
    values = pd.DataFrame([{"model": "$m$", "seed": 0, "arm": "original", "value": 0.5}])
    paired = decode(encode_svg(draw_paired(values, ARMS, "Accuracy")))
    assert "$m$" in paired


@pytest.mark.parametrize(("metric", "widest"), [("accuracy", 104), ("mcc", 208)])
def test_forest_holds_every_difference_that_there_can_be(metric: str, widest: float) -> None:
    """Differences of MCC reach ±2; intervals of older runs may go on beyond what can be."""
    changes = {"metric": metric, "difference": 0.9, "decisive_low": -9.0, "decisive_high": 9.0}
    contrast = make_comparison()["contrasts"][0] | changes
    (axes,) = draw_forest([contrast], alpha=0.05).axes
    assert axes.get_xlim() == (-widest, widest)


@pytest.mark.parametrize(("metric", "told"), [("brier", True), ("auc", False)])
def test_differences_of_errors_say_which_way_is_better(run: Run, metric: str, told: bool) -> None:
    def change(comparison: dict[str, Any]) -> None:
        comparison["metric"] = metric
        for row in comparison["contrasts"]:
            row["metric"] = metric

    change_comparison(run, change)
    plots = draw_plots(read_shown(run))
    for name in ("forest", "seeds"):
        assert plots[name].caption.endswith("Lower is better.") == told
    printed = io.StringIO()
    show_comparison(Console(file=printed, width=200), read_json(run.comparison))
    assert ("difference in Brier score (lower is better) on test" in printed.getvalue()) == told


def test_one_model_has_its_verdict_once_in_the_names_of_the_arms(run: Run) -> None:
    comparison = read_json(run.comparison)
    reason = "lime minus original: a loss. random_mask is worse."
    first = comparison["verdicts"][0] | {"reason": reason, "remarks": ["silhouette does as well."]}
    verdict = comparison["verdict"] | {"reason": reason}
    write_json(run.comparison, comparison | {"verdicts": [first], "verdict": verdict})
    text = read_page(run).text
    assert text.count("LIME mask minus Original: a loss. Random mask is worse.") == 1
    assert "Silhouette does as well." in text


def test_doubts_are_told_up_front(run: Run) -> None:
    comparison = read_json(run.comparison)
    note = {"model": MODELS[0], "kind": "lime", "note": UNSTABLE, "n": 9, "n_masks": 10}
    write_json(run.comparison, comparison | {"mask_notes": [note]})
    page = read_page(run).page
    told = page.index("90 % of the masks of the kind lime are unstable")
    assert page.index("Read with care") < told < page.index('id="results"')


def test_panels_of_arms_that_were_not_run_are_left_out(run: Run) -> None:
    config = yaml.safe_load(run.config.read_text())
    for arms, shown in ((["original", "lime"], False), ([*ARMS], True)):
        write_yaml(run.config, {**config, "arms": arms})
        labels = {picture["alt"].partition(":")[0] for picture in read_page(run).pictures
                  if picture["alt"]}  # fmt: skip
        assert ("Random mask" in labels) == shown
        assert "LIME mask" in labels


def test_explanation_without_a_hot_pixel_is_not_shown_as_one() -> None:
    image = np.full((8, 8), 99, np.uint8)
    assert dict(draw_panels(image, None, None, np.zeros((8, 8), np.uint8)))["Grad-CAM"] is None
    assert dict(draw_panels(image, None, None, image))["Grad-CAM"] is not None


def test_panels_show_what_the_arms_see() -> None:
    image = np.full((SIZE, SIZE), 200, np.uint8)
    mask = np.zeros((SIZE, SIZE), bool)
    mask[:, : SIZE // 2] = True
    panels = dict(draw_panels(image, mask, ~mask, None))
    assert tuple(panels) == PANEL_LABELS
    assert panels["Grad-CAM"] is None
    for name, left, right in (
        ("Original", 200, 200),
        ("LIME mask", 200, 0),
        ("Random mask", 0, 200),
        ("Silhouette", 255, 0),
    ):
        pixels = _read_picture(panels[name])
        assert abs(int(pixels[100, 20]) - left) < 4, name
        assert abs(int(pixels[100, 200]) - right) < 4, name


def _read_picture(uri: str | None) -> np.ndarray:
    assert uri is not None
    content = base64.b64decode(uri.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(content)).convert("L"))


def test_shares_chance_and_contrasts_beside_the_verdict_are_shown(page: "Reader") -> None:
    assert "33 % [11 %, 56 %]" in page.text
    assert "No share: no gain." in page.text
    assert "Shuffled labels: p 0.432 (one-sided" in page.text
    assert "[\N{MINUS SIGN}4.4, +6.7]" in page.text  # the bootstrap's interval
    assert "0.52, 0.38" in page.text
    assert page.text.count("not used for the verdict") >= len(MODELS)


def test_plan_that_results_have_shaped_is_announced(run: Run) -> None:
    plan = {"hash": "one", "stated": "then", "seeds": 2, "statistics": {"margin": 0.03}}
    later = {**plan, "hash": "two", "seeds": 9, "results_seen": False}
    write_json(run.plan, [plan, later])
    quiet = read_page(run)
    assert "The plan was changed" not in quiet.text
    assert "two" in quiet.text
    seen = {**later, "hash": "three", "statistics": {"margin": 0.2}, "results_seen": True}
    write_json(run.plan, [plan, later, seen])
    text = read_page(run).text
    assert "The plan was changed after results had been seen" in text
    assert "statistics.margin (before 0.03, now 0.2)" in text
    assert "seeds (before" not in text


def test_external_cohort_that_disagrees_is_told(run: Run) -> None:
    comparison = read_json(run.comparison)
    (first, *_) = comparison["models"]
    contrast = {
        "model": first, "arm": "lime", "baseline": "original", "n_seeds": 3, "difference": -0.0123,
        "decisive_low": -0.0345, "decisive_high": None, "p_holm": 0.0321,
    }  # fmt: skip
    agreement = {
        "model": first, "internal": "real gain", "external": "real loss", "agree": False,
        "words": "The verdicts disagree, <b>say</b> we.",
    }  # fmt: skip
    external = {
        "source": "/data/<clinic>", "name": "<clinic>", "n_images": 30, "n_rejects": 2,
        "alpha": 0.05, "dropped": [{"path": f"{n}.png", "reason": "Why."} for n in range(60)],
        "contrasts": [contrast], "agreement": [agreement, {**agreement, "agree": True}],
        "verdict": {"reason": "A loss is shown."}, "deployable": [], "cells": [],
    }  # fmt: skip
    write_json(run.comparison, {**comparison, "external": external})
    text = write_report(run).read_text()
    section = text[text.index('id="external"') : text.index('id="seeds"')]
    assert "The verdicts disagree, &lt;b&gt;say&lt;/b&gt; we." in section
    assert "/data/&lt;clinic&gt;" in section
    assert "<clinic>" not in text
    assert section.count("they disagree") == section.count("the same</td>") == 1
    assert "60 images dropped" in section
    assert section.count("Why.") == 50
    assert "… and 10 more, in <code>comparison.json</code>" in section
    assert "2 files of the cohort could not be read." in section
    assert "A loss is shown." in section
    assert "\u22121.2" in section


def test_looks_are_told(run: Run) -> None:
    comparison = read_json(run.comparison)
    taken = {
        "n_seeds": 4,
        "verdicts": {MODELS[0]: "real gain", MODELS[1]: "inconclusive"},
        "reasons": {MODELS[0]: "Masks help.", MODELS[1]: "It is open."},
    }
    write_json(run.comparison, {**comparison, "looks": [taken]})
    text = read_page(run).text
    assert f"After 4 seeds, {MODELS[0]}: real gain. Masks help." in text
    assert f"After 4 seeds, {MODELS[1]}: inconclusive. It is open." in text


def test_remarks_on_masks_are_counted(run: Run) -> None:
    part = run.masks / "model" / "part.parquet"
    first = next(row for row in pq.read_table(part).to_pylist() if row["kind"] == "lime")
    first |= {"teacher": "original", "target": "predicted", "error": None, "unstable": False}
    rows = [{**first, "image_id": str(number)} for number in range(4)]
    rows[0] |= {"unstable": True, "note": "it is dark; it is small"}
    rows[1] |= {"note": "it is small"}
    failed = {**rows[1], "image_id": "failed", "error": "It is flat.", "note": None}
    other = {**rows[0], "image_id": "other", "teacher": "untrained"}
    write_table(part, pa.Table.from_pylist([*rows, failed, other], schema=MASKS))
    found = count_mask_notes(run)
    assert {(one["model"], one["kind"]) for one in found} == {(rows[0]["model"], "lime")}
    assert {one["note"]: (one["n"], one["n_masks"]) for one in found} == {
        "it is dark": (1, 4),
        "it is small": (2, 4),
        UNSTABLE: (1, 4),
        FAILED: (1, 5),
    }
    comparison = read_json(run.comparison)
    write_json(run.comparison, {**comparison, "mask_notes": found})
    page = write_report(run).read_text(encoding="utf-8")
    assert f"LIME: 2 of {len(rows)} masks: it is small</li>" in page


def test_masks_are_counted_and_averaged_over_images(run: Run) -> None:
    part = run.masks / "model" / "part.parquet"
    rows = read_parts(part.parent, MASKS).to_pylist()
    for row in rows:
        if row["kind"] == "lime" and row["error"] is None:
            row["n_samples"], row["unstable"] = 100 * int(row["image_id"]), row["image_id"] == "2"
    write_table(part, pa.Table.from_pylist(rows, MASKS))
    figures = [
        {"model": MODELS[0], "seed": seed, "kind": kind, "image_id": str(image), **values}
        for kind, share in (("lime", 1.0), ("random", 0.4))
        for seed in (0, 1)
        for image in (1, 2)
        for values in (
            {
                "insertion_auc": share * (0.5 + 0.1 * seed + 0.2 * image),
                "deletion_auc": share * 0.05 * (image + seed),
                "drop": share * (0.4 - 0.2 * image),
            },
        )
    ]
    table = pa.Table.from_pylist(figures, FAITHFULNESS)
    write_table(run.faithfulness / "model" / "part.parquet", table)
    cells = re.findall(
        rf"<tr><td[^>]*>{re.escape(MODELS[0])}</td><td[^>]*>(LIME|Random)</td>(.*?)</tr>",
        read_page(run).page,
    )
    found = {kind: re.findall("<td[^>]*>(.*?)</td>", row) for kind, row in cells}
    # 2 seeds × 4 images, of which one has an error; the figures of 2 images run from 0.7 to 1.0,
    # from 0.05 to 0.15 and from 0.0 to 0.2, and those of random masks are 40 % of that.
    assert found["LIME"] == ["8", "2", "200", "2", "0.50", "0.85", "0.10", "0.10"]
    assert found["Random"] == ["8", "2", "–", "–", "–", "0.34", "0.04", "0.04"]


def test_code_is_marked_and_names_keep_their_letters() -> None:
    marked = "net_b0: ask <code>osteo-ray plan</code>, &lt;b&gt;."
    assert _mark_code("net_b0: ask `osteo-ray plan`, <b>.") == marked
    assert _mark_code("an odd ` mark") == "an odd ` mark"
