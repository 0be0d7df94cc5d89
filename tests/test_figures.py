"""`osteo-ray figures`: files, data and captions, and the decomposition of a gain."""

import itertools
import json
import re
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from skimage.color import rgb2lab
from sklearn.metrics import average_precision_score, roc_auc_score

from osteo_ray.arms.registry import label_arm, list_presets
from osteo_ray.base.errors import InputError
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import read_json, read_table
from osteo_ray.commands.main import main
from osteo_ray.experiment.decomposition import Decomposed, decompose, gather_decomposed
from osteo_ray.experiment.searches import Search, Tried
from osteo_ray.experiment.simulated import SimulatedArm, draw_tested, simulate_predictions
from osteo_ray.report import figure_files
from osteo_ray.report.confusion import count_confusions, tabulate_confusions
from osteo_ray.report.figure_files import group_absent, write_figures
from osteo_ray.report.paper_tables import PaperTable, list_tables
from osteo_ray.report.picture_plots import plot_pictures
from osteo_ray.report.plots import Plot, draw_plots
from osteo_ray.report.results import name_apart, read_shown
from osteo_ray.report.roc import PRECISION_RECALL, ROC, tabulate_curves, trace_curve
from osteo_ray.report.search_figure import draw_searches
from osteo_ray.report.seeds_figure import draw_paired
from osteo_ray.report.shown_images import ShownImages
from osteo_ray.report.style import SERIES, export_figure, start_figure
from osteo_ray.statistics.inference import Estimate, StandardError, subtract_estimates

ARCHIVE = Path(__file__).with_name("old_run.tar.xz")
N_IMAGES, N_TEST, N_SEEDS = 300, 80, 6
CLEAN = {
    "original": SimulatedArm(0.78, 0.01),
    "original_retrained": SimulatedArm(0.80, 0.01),
    "random_mask": SimulatedArm(0.72, 0.01),
    "random_trained": SimulatedArm(0.75, 0.01),
    "lime_crossfit": SimulatedArm(0.84, 0.01),
    "lime": SimulatedArm(0.90, 0.01),
}
PAPER = {"original": SimulatedArm(0.80, 0.01), "lime": SimulatedArm(0.97, 0.01)}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of an earlier version, which tests only read."""
    folder = tmp_path_factory.mktemp("figures")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return Run(folder / "run")


@pytest.fixture
def own(run: Run, tmp_path: Path) -> Run:
    """A copy of it, for tests that break it."""
    return Run(Path(shutil.copytree(str(run.root), tmp_path / "own")))


def draw_table(arms: dict[str, SimulatedArm], number: int) -> pd.DataFrame:
    rng = np.random.default_rng(number)
    tested = draw_tested(N_IMAGES, N_TEST, N_SEEDS, rng)
    classes = ("normal", "osteoporosis")
    table = simulate_predictions(
        arms, tested, n_images=N_IMAGES, rng=rng, model="net", classes=classes
    )
    return table.to_pandas()


def judge(folder: Path, arms: dict[str, SimulatedArm], number: int, **changes: Any) -> Run:
    """Judge simulated predictions; return the folder, whose record is changed."""
    table = folder / f"table-{number}.parquet"
    draw_table(arms, number).to_parquet(table, index=False)
    run = Run(folder / f"judged-{number}")
    assert main(["judge", str(table), "--out", str(run.root), "--n-train", "200"]) == 0
    comparison = {**read_json(run.comparison), **changes}
    Path(str(run.comparison)).write_text(json.dumps(comparison))
    return run


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    """A judgement under the paper's protocol, and a clean one."""
    folder = tmp_path_factory.mktemp("judged")
    paper = {"protocol": "paper", "split": "random", "copies_leak": True}
    return judge(folder, PAPER, 1, **paper), judge(folder, CLEAN, 2, protocol="clean")


def read_decomposed(run: Run) -> Decomposed:
    images = read_table(run.images).to_pandas()
    return gather_decomposed(
        str(run.root), read_json(run.comparison), read_table(run.predictions), images
    )


def find_auc(run: Run) -> dict[str, float]:
    """Return the mean AUC over seeds of each arm, by scikit-learn."""
    table = read_table(run.predictions).to_pandas()
    table = table[table["split"] == "test"]
    values = {
        key: roc_auc_score(part["label"] == "osteoporosis", part["p_osteoporosis"])
        for key, part in table.groupby(["arm", "seed"])
    }
    return pd.Series(values).groupby(level=0).mean().to_dict()


# The decomposition


def test_steps_are_differences_of_arms_and_add_up(judged: tuple[Run, Run]) -> None:
    paper, clean = map(read_decomposed, judged)
    steps = {step.name: step for step in decompose([clean, paper])}
    auc, auc_paper = find_auc(judged[1]), find_auc(judged[0])
    gain, gain_paper = auc["lime"] - auc["original"], auc_paper["lime"] - auc_paper["original"]
    expected = {
        "Gain in the paper’s way": gain_paper,
        "Protocol and copies": gain_paper - gain,
        "Gain without leaks": gain,
        "A second training": auc["original_retrained"] - auc["original"],
        "Any crop": auc["random_mask"] - auc["original_retrained"],
        "Encoding: the mask tells the class": auc["lime_crossfit"] - auc["random_trained"],
        "Encoding: the mask knows training labels": auc["lime"] - auc["lime_crossfit"],
        "What is left": auc["random_trained"] - auc["random_mask"],
    }
    assert list(steps) == list(expected)
    for name, value in expected.items():
        assert steps[name].mean == pytest.approx(value, abs=1e-9), name
        assert steps[name].low < steps[name].mean < steps[name].high
        assert steps[name].is_total == name.startswith("Gain")
    assert sum(step.mean for step in [*steps.values()][3:]) == pytest.approx(gain)


def test_intervals_are_those_of_the_verdict(judged: tuple[Run, Run]) -> None:
    comparison = read_json(judged[1].comparison)
    found = {(one["arm"], one["baseline"]): one for one in comparison["contrasts"]}
    steps = {step.name: step for step in decompose([read_decomposed(judged[1])])}
    for name, pair in (
        ("Gain", ("lime", "original")),
        ("A second training", ("original_retrained", "original")),
    ):
        contrast = found[pair]
        bounds = (contrast["decisive_low"], contrast["decisive_high"])
        assert (steps[name].low, steps[name].high) == pytest.approx(bounds)


def test_arms_that_were_not_run_join_steps(tmp_path: Path) -> None:
    few = {name: CLEAN[name] for name in ("original", "random_mask", "lime")}
    run = judge(tmp_path, few, 3)
    steps = {step.name: step.mean for step in decompose([read_decomposed(run)])}
    assert list(steps) == ["Gain", "Any crop", "What is left, encoding included"]
    auc = find_auc(run)
    assert steps["Any crop"] == pytest.approx(auc["random_mask"] - auc["original"])
    left = auc["lime"] - auc["random_mask"]
    assert steps["What is left, encoding included"] == pytest.approx(left)


def change(one: Decomposed, **changes: Any) -> Decomposed:
    return Decomposed(one.name, {**one.comparison, **changes}, one.evidence)


def test_a_third_run_tells_copies_from_protocol(judged: tuple[Run, Run]) -> None:
    paper, clean = map(read_decomposed, judged)
    leaking = change(clean, split="random")
    steps = {step.name: step.mean for step in decompose([paper, leaking, clean])}
    assert steps["Copies in training"] == pytest.approx(0)  # it is the same run
    whole = steps["Gain in the paper’s way"] - steps["Gain without leaks"]
    assert steps["Masks from another split"] == pytest.approx(whole)
    other = change(clean, protocol="paper")
    steps = {step.name: step.mean for step in decompose([paper, other, clean])}
    assert steps["Copies in training"] == pytest.approx(whole)
    assert steps["Masks from another split"] == pytest.approx(0)


def test_runs_that_cannot_be_decomposed_are_refused(judged: tuple[Run, Run]) -> None:
    paper, clean = map(read_decomposed, judged)
    with pytest.raises(InputError, match="Expected a clean run"):
        decompose([paper])
    with pytest.raises(InputError, match=r"both follow the clean protocol. Judge them as one"):
        decompose([clean, clean])
    with pytest.raises(InputError, match="one endpoint, but got accuracy and auc"):
        decompose([change(paper, metric="accuracy"), clean])


def test_difference_of_two_runs_is_that_of_welch() -> None:
    means, errors, sizes = (0.17, 0.05), (0.02, 0.03), (10, 6)
    estimates = [
        Estimate(mean, n, (StandardError("corrected t", error, n - 1),))
        for mean, error, n in zip(means, errors, sizes, strict=True)
    ]
    found = subtract_estimates(*estimates)
    sds = [error * np.sqrt(n) for error, n in zip(errors, sizes, strict=True)]
    welch = stats.ttest_ind_from_stats(
        means[0], sds[0], sizes[0], means[1], sds[1], sizes[1], equal_var=False
    )
    assert found.p_other_than() == pytest.approx(welch.pvalue)
    assert (found.mean, found.n_seeds) == (pytest.approx(0.12), 6)


# Curves


def test_curves_by_hand() -> None:
    labels, scores = np.array([1, 0, 1, 0], bool), np.array([0.9, 0.8, 0.7, 0.1])
    roc = trace_curve(ROC, labels, scores)
    assert [roc[at] for at in (0, 49, 50, 100)] == [0.5, 0.5, 1.0, 1.0]
    precision = trace_curve(PRECISION_RECALL, labels, scores)
    assert [precision[at] for at in (0, 50, 51, 100)] == pytest.approx([1, 1, 2 / 3, 2 / 3])
    tied = trace_curve(ROC, labels, np.full(4, 0.5))
    np.testing.assert_allclose(tied, np.linspace(0, 1, 101), atol=1e-9)


def test_areas_of_curves_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    labels = rng.random(4000) < 0.4
    scores = labels + rng.normal(size=4000)
    area = np.trapezoid(trace_curve(ROC, labels, scores), dx=0.01)
    assert area == pytest.approx(roc_auc_score(labels, scores), abs=2e-4)
    mean = trace_curve(PRECISION_RECALL, labels, scores).mean()
    assert mean == pytest.approx(average_precision_score(labels, scores), abs=5e-3)


# What a run and a judgement give


def test_data_of_plots_are_those_of_the_tables(run: Run) -> None:
    shown = read_shown(run)
    assert shown.pair == ("original", "lime_crossfit")
    predictions = read_table(run.predictions).to_pandas()
    tested = predictions[(predictions["split"] == "test") & predictions["arm"].isin(shown.pair)]
    table = tabulate_confusions(shown)
    said = tested["p_osteoporosis"] > tested["p_normal"]
    hits = (said & (tested["label"] == "osteoporosis")).sum()
    of_hits = table[(table["true"] == "osteoporosis") & (table["predicted"] == "osteoporosis")]
    assert of_hits["n_images"].sum() == hits
    assert table["n_images"].sum() == len(tested)
    assert len(count_confusions(shown)) == 2
    plots = draw_plots(shown)
    calibration = plots["calibration"]
    assert isinstance(calibration, Plot)
    assert calibration.data["n_images"].sum() == len(tested)
    curves = tabulate_curves(shown, ROC)
    assert len(curves) == 2 * 2 * 101  # arms, seeds, points
    reasons = {one.name: one for one in plots.values() if not isinstance(one, Plot)}
    assert set(reasons) == {"grid", "external", "curves", "searches"}


class Counted(frozenset):
    """Counts how often all of its elements are gone through for a section with others."""

    sections = 0

    def __and__(self, other):
        Counted.sections += 1
        return super().__and__(other)


def test_work_grows_as_the_images_and_not_as_their_square(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    list_split = ShownImages.list_split
    monkeypatch.setattr(
        ShownImages, "list_split", lambda stored, part: Counted(list_split(stored, part))
    )
    monkeypatch.setattr(Counted, "sections", 0)
    assert len(plot_pictures(read_shown(run))) == 5
    assert 0 < Counted.sections <= len(("train", "validation", "test"))


def test_files_are_written_with_their_data_and_an_index(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "figures"
    assert main(["figures", str(run.root), "--out", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    names = {one["name"]: one["counterpart"] for one in found["figures"]}
    of_paper = " ".join(names.values())
    assert all(f"{number}" in of_paper for number in (2, 5, 6, 7, 8, 9, 10))
    index = (out / "figures.md").read_text()
    assert "Figures 3 and 4 of the paper" in index
    for name in names:
        assert f"**{name}**" in index
        svg = (out / f"{name}.svg").read_text()
        assert "<text" not in svg  # letters are outlines
        pdf = (out / f"{name}.pdf").read_bytes()
        assert pdf.count(b"/FontFile2") >= 1
        assert b"/Type3" not in pdf
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert len(pd.read_csv(out / f"{name}.csv")) > 0
    assert {one["name"] for one in found["absent"]} == {"grid", "external", "curves", "searches"}
    assert "no grid: No classifier predicted other views here." in index
    for table in ("results", "contrasts", "paper", "decomposition"):
        assert {path.suffix for path in out.glob(f"table-{table}.*")} == {".md", ".tex", ".csv"}


def test_same_figure_gives_the_same_bytes() -> None:
    def draw() -> dict[str, bytes]:
        figure = start_figure(1)
        figure.subplots().plot([1, 2], label="x")
        return export_figure(figure)

    assert draw() == draw()


def test_several_get_folders_and_what_lies_between(
    judged: tuple[Run, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figure_files, "export_figure", lambda figure: {"pdf": b"a figure"})
    written = write_figures(judged, tmp_path)
    assert [files.title for files in written] == [
        "judged-1",
        "judged-2",
        "What the gain is made of",
    ]
    assert (tmp_path / "judged-1" / "roc.pdf").is_file()  # judgements keep predictions
    steps = pd.read_csv(tmp_path / "decomposition.csv")
    assert list(steps["name"])[:2] == ["Gain in the paper’s way", "Protocol and copies"]
    assert "Protocol and copies" in (tmp_path / "table-decomposition.tex").read_text()
    reasons = group_absent(written[0].absent)
    assert reasons["Images and masks need the settings of a run, and there are none here."]


def test_tables_alone_are_drawn_without_names_of_files(own: Run) -> None:
    images = pd.read_parquet(str(own.images)).drop(columns=["path", "used"])
    images.to_parquet(str(own.images), index=False)
    shutil.rmtree(str(own.pixels))
    assert main(["report", str(own.root)]) == 0

    reasons = {one.reason for one in plot_pictures(read_shown(own)) if not isinstance(one, Plot)}
    assert reasons == {"The images are not kept here, only tables."}


def test_runs_of_one_name_are_told_apart(judged: tuple[Run, Run]) -> None:
    shown = read_shown(judged[0])
    assert name_apart([shown, shown, shown]) == ["judged-1", "judged-1-2", "judged-1-3"]


@pytest.mark.parametrize(
    ("missing", "absent"),
    [
        ("predictions.parquet", {"confusion", "roc", "precision-recall", "calibration"}),
        ("results.parquet", {"seeds"}),
        ("masks", {"regions", "masked", "arms"}),
        ("heatmaps", {"gradcam"}),
        ("pixels", {"samples", "regions", "gradcam", "masked", "arms"}),
        ("config.yaml", {"samples", "regions", "gradcam", "masked", "arms"}),
        ("images.parquet", {"samples", "regions", "gradcam", "masked", "arms"}),
        ("splits.parquet", {"regions", "gradcam", "masked", "arms"}),
    ],
)
def test_what_is_missing_costs_the_figures_that_need_it(
    own: Run, missing: str, absent: set[str]
) -> None:

    path = Path(str(own.root)) / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    shown = read_shown(own)
    drawn = [*plot_pictures(shown), *draw_plots(shown).values()]
    found = {one.name for one in drawn if not isinstance(one, Plot)}
    assert found - {"grid", "external", "curves", "searches"} == absent


def test_views_without_an_interval_are_not_called_missing(own: Run) -> None:
    empty = {"cells": [], "deployable": []}
    changed = {**read_json(own.comparison), "grid": empty, "external": None}
    Path(str(own.comparison)).write_text(json.dumps(changed))
    plots = draw_plots(read_shown(own))
    assert plots["grid"].reason.startswith("An interval takes 2 seeds")
    assert plots["external"].reason == "There is no external cohort."


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{broken", "as osteo_ray wrote it, but it cannot be read"),
        ("[]", "holds something else"),
        ('{"verdict": 1}', "holds something else"),
        (None, "is missing. Finish it with the command that began it"),
    ],
)
def test_run_without_results_is_refused(
    own: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str], content: str | None, words: str
) -> None:
    path = Path(str(own.comparison))
    path.unlink() if content is None else path.write_text(content)
    for command in ("figures", "report"):
        flags = ["--out", str(tmp_path / "f")] if command == "figures" else []
        assert main([command, str(own.root), *flags]) == 2
        assert words in " ".join("".join(capfd.readouterr()).split())
    assert not (tmp_path / "f").exists()


def test_settings_of_another_version_leave_a_page_of_results(own: Run) -> None:
    config = Path(str(own.config))
    config.write_text(config.read_text() + "\nfrom_the_future: 1\n")
    assert main(["report", str(own.root)]) == 0
    page = Path(str(own.report)).read_text()
    assert "Part of this page is missing." in page
    assert "Unknown configuration key `from_the_future`" in page
    assert page.count("<figure") >= 4


def test_no_run_and_a_file_as_out_are_refused(
    run: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["figures", "--out", str(tmp_path / "f")]) == 2
    assert "Expected one or more runs, but got none." in capfd.readouterr().err
    (tmp_path / "file").write_text("mine")
    assert main(["figures", str(run.root), "--out", str(tmp_path / "file")]) == 2
    assert "is not a folder. Choose another --out." in " ".join(capfd.readouterr().err.split())
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("figures", "RUN", "--out", "file"), "--out to be a folder that can be written to"),
        (("figures", "RUN", "--out", "file/in/it"), "file is not a folder"),
        (("card", "RUN", "--out", "file"), "--out to be a folder that can be written to"),
        (("report", "RUN", "RUN", "--out", "file/page.html"), "file is not a folder"),
        (("predict", "RUN", "a.png", "--out", "file/t.csv"), "file is not a folder"),
        (("predict", "RUN", "a.png", "--masks", "file"), "--masks to be a folder that can be"),
        (("figures", "file", "--out", "f"), "Expected a run directory, but"),
        (("card", "file"), "Expected a run directory, but"),
        (("report", "file"), "Expected a run directory, but"),
        (("predict", "file", "a.png"), "Expected a run directory, but"),
        (("export", "file"), "Expected a run directory, but"),
        (("verify", "file"), "Expected a run directory, but"),
        (("report", "empty"), "Give the folder that `osteo-ray compare` or `judge` named"),
    ],
    ids=" ".join,
)
def test_places_that_cannot_be_read_or_written_are_refused_before_any_work(
    run: Run,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    problem: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "empty").mkdir()
    assert main([str(run.root) if word == "RUN" else word for word in words]) == 2
    assert problem in " ".join(capfd.readouterr().err.split())
    assert {path.name for path in tmp_path.iterdir()} == {"file", "empty"}


# Style and tables


_SEEN = {  # Machado, Oliveira and Fernandes (2009), severity 1, linear RGB
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
               [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
               [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
               [0.004733, 0.691367, 0.303900]],
    "all": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
}  # fmt: skip


@pytest.mark.parametrize("vision", _SEEN)
def test_colours_can_be_told_apart(vision: str) -> None:
    codes = np.array([[int(c[at : at + 2], 16) for at in (1, 3, 5)] for c in SERIES]) / 255
    linear = np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(_SEEN[vision]).T, 0, 1)
    shown = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
    lab = rgb2lab(shown[None])[0]
    distances = [np.linalg.norm(lab[i] - lab[j]) for i in range(len(lab)) for j in range(i)]
    assert min(distances) > 15  # differences of 2 to 3 can just be seen


# Names


@pytest.mark.parametrize(
    ("preset", "n_models"), [("demo", 1), ("controls", 1), ("controls", 2), ("full", 3)]
)
def test_names_of_arms_never_run_into_each_other(preset: Any, n_models: int) -> None:
    arms = list_presets()[preset]
    rows = [
        {"model": f"net-{number}", "seed": seed, "arm": arm, "value": seed / 10}
        for number in range(n_models)
        for seed in (0, 1)
        for arm in arms
    ]
    figure = draw_paired(pd.DataFrame(rows), arms, "AUC")
    figure.draw_without_rendering()
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert len(panels) == n_models
    for axes in panels:
        names = axes.get_xticklabels()
        assert [" ".join(name.get_text().split()) for name in names] == list(map(label_arm, arms))
        if all(name.get_rotation() for name in names):  # so that they end at their places
            assert {name.get_ha() for name in names} == {"right"}
            continue
        boxes = [name.get_window_extent() for name in names]
        assert all(one.x1 <= other.x0 for one, other in itertools.pairwise(boxes))


def test_legends_and_titles_hold_whatever_arms_and_classes_are_called(tmp_path: Path) -> None:
    names = {"original": "_whole $x$ and $y$", "lime": f"masked {'very ' * 20}much"}
    table = draw_table({name: CLEAN[name] for name in names}, 3)
    table["arm"] = table["arm"].map(names)
    table.to_csv(tmp_path / "named.csv", index=False)
    words = ["--out", str(tmp_path / "out"), "--baseline", names["original"]]
    assert main(["judge", str(tmp_path / "named.csv"), *words]) == 0
    plots = draw_plots(read_shown(Run(tmp_path / "out")))
    for name in ("roc", "precision-recall", "calibration"):
        figure = plots[name].figure
        legend = figure.axes[0].get_legend()
        assert [one.get_text() for one in legend.get_texts()] == [
            names["original"],
            f"masked {'very ' * 20}much"[:35] + "…",
        ]
        assert not any(one.get_parse_math() for one in legend.get_texts())
    figure = plots["forest"].figure
    figure.draw_without_rendering()
    boxes = [name.get_window_extent() for name in figure.axes[0].get_yticklabels()]
    assert all(box.x0 >= 0 for box in boxes)
    assert all(len(axes.get_title("left")) < 70 for axes in plots["confusion"].figure.axes)


def test_searches_have_axes_with_labels_and_names_leave_them_room() -> None:
    tried = tuple(Tried(k, {"learning_rate": 10.0**-k}, (0.5 + k / 10,)) for k in range(1, 4))
    models = ("net", f"torchvision:{'long_' * 12}name")
    searches = [Search(model, "lime", tried, 1) for model in models for _ in range(4)]
    figure = draw_searches(searches)
    assert figure is not None
    figure.draw_without_rendering()
    first, second = figure.axes[0], figure.axes[1]
    assert (first.get_xlabel(), first.get_ylabel()) == ("Learning rate", "Validation loss, nats")
    assert (second.get_xlabel(), second.get_ylabel()) == ("Learning rate", "")
    # Four panels side by side, each of which is mostly plot.
    assert all(axes.get_position().width > 0.15 for axes in figure.axes)


def test_tables_escape_what_would_be_commands() -> None:
    table = PaperTable("t", "A | b", ("a_b", "50 %"), (("x & <y>\n\\z", "−1.0 ± 2"), ("$", "–")))
    tex = table.to_latex()
    assert r"a\_b & 50 \%" in tex
    assert r"x \& \textless{}y\textgreater{} \textbackslash{}z & $-$1.0 $\pm$ 2 \\" in tex
    assert r"\$ & --" in tex
    markdown = table.to_markdown().splitlines()
    assert markdown[0] == r"A \| b"
    assert markdown[2:4] == [r"| a\_b | 50 % |", "|---|---|"]
    assert markdown[4] == r"| x & &lt;y> \\z | −1.0 ± 2 |"
    assert table.to_frame().shape == (2, 2)


def test_tables_hold_what_the_comparison_says(run: Run) -> None:
    tables = {table.name: table for table in list_tables(read_shown(run))}
    comparison = read_json(run.comparison)
    assert len(tables["results"].rows) == len(comparison["arms"])
    assert len(tables["contrasts"].rows) == len(comparison["contrasts"])
    mean = comparison["arms"][0]["metrics"]["accuracy"]["mean"]
    assert tables["results"].rows[0][3].startswith(f"{mean:.3f}")
    assert "0.9189 (not 0.9324)" in {cell for row in tables["paper"].rows for cell in row}
    assert re.search(r"not 0\.9324", tables["paper"].to_markdown())
