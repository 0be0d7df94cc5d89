"""The study of docs/study.md: keep the tables of a run, and tell what all kept tables say."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from osteo_ray.base.errors import InputError
from osteo_ray.base.formatting import format_difference, format_level, format_p, format_score
from osteo_ray.base.runs import open_run
from osteo_ray.base.tables import read_json, read_table, write_json, write_table, write_yaml
from osteo_ray.config.build import read_yaml
from osteo_ray.experiment.decomposition import decompose, gather_decomposed
from osteo_ray.experiment.judge_tables import Judgement, judge_tables

PARTS = {
    "paper": "The paper's way",
    "clean": "Clean",
    "lite0-paper": "The paper's way, second network",
    "lite0-clean": "Clean, second network",
    "modern": "The modern recipe, tuned",
}
"""Titles, by what the names of chunks begin with."""
PAIRS = (("paper", "clean"), ("lite0-paper", "lite0-clean"))
"""Parts with the same network, in the paper's way and without leaks."""
PAPER_GAIN = 0.15
"""What the paper reports: 77 % → 92 % of 74 test images."""
_AS_THEY_ARE = (
    *("predictions.parquet", "splits.parquet", "results.parquet", "curves.parquet"),
    "comparison.json",
)
_NAMES_FILES = ["path", "digest"]
"""Columns that name files, or from which a file could be recognised."""


def keep_run(root: str, out: Path) -> None:
    """Copy what may be kept of a finished run: tables without pixels and names of files.

    Args:
        root: The run.
        out: A folder that is not there yet.

    Raises:
        InputError: The run is not finished, or the folder is there.
    """
    run = open_run(root)
    if out.exists():
        raise InputError(f"Expected {out} to be new, but it is there. Name another, or delete it.")
    if not run.comparison.is_file():
        raise InputError(f"Expected a finished run, but {root} has no comparison.json. Finish it.")
    out.mkdir(parents=True)
    for name in _AS_THEY_ARE:
        shutil.copyfile(Path(str(run.root)) / name, out / name)
    write_table(out / "images.parquet", read_table(run.images).drop_columns(_NAMES_FILES))
    write_json(out / "environment.json", read_json(run.environment))
    plans = [dict(plan) for plan in read_json(run.plan)]
    for plan in plans:
        plan["identity"] = _leave_out_folders(plan["identity"])
    write_json(out / "plan.json", plans)
    write_yaml(out / "config.yaml", {**_leave_out_folders(read_yaml(run.config)), "out": out.name})


def _leave_out_folders(settings: Mapping[str, Any]) -> dict[str, Any]:
    weights = [one.partition("=") for one in settings.get("weights", ())]
    named = [f"{model}{sign}{Path(file).name}" for model, sign, file in weights]
    return {**settings, "data": Path(settings["data"]).name} | ({"weights": named} if named else {})


def list_chunks(root: Path, part: str) -> list[Path]:
    """List the kept runs of a part of the study, in the order of their first seeds."""
    chunks = root.glob(f"{part}-*")
    return sorted(chunks, key=lambda path: int(path.name.rpartition("-")[2]))


def tell_study(root: Path) -> str:
    """Say what the kept tables show, in Markdown; the same tables give the same text.

    Args:
        root: The folder of the kept runs.

    Raises:
        InputError: There are none.
    """
    parts, judged = [], {}
    for part, title in PARTS.items():
        chunks = list_chunks(root, part)
        if chunks:
            judged[part] = one = judge_tables([str(chunk) for chunk in chunks])
            names = ", ".join(f"`{chunk.name}`" for chunk in chunks)
            parts += [f"### {title} ({names})", *_tell_judged(one.results, one.comparison)]
            parts += _tell_grid([read_json(chunk / "comparison.json") for chunk in chunks])
            parts += _tell_choices([read_json(chunk / "plan.json")[-1] for chunk in chunks])
    for paper, clean in PAIRS:
        if paper in judged and clean in judged:
            parts += [
                f"### What the gain is made of (`{paper}`, `{clean}`)",
                _tell_steps({part: judged[part] for part in (paper, clean)}),
            ]
    if not parts:
        raise InputError(f"Expected kept runs in {root}, but there are none. Keep one first.")
    return "\n\n".join(parts) + "\n"


def _tell_choices(plans: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Tell what a search chose for each arm, if there was one."""
    chosen = [one for plan in plans for one in plan.get("chosen_training", ())]
    if chosen:
        yield _tabulate(
            ("chosen for", "learning rate", "weight decay", "epochs", "rotation by up to"),
            [
                (
                    f"`{one['arm']}`",
                    f"{one['training']['learning_rate']:.2g}",
                    f"{one['training']['optimizer']['weight_decay']:.2g}",
                    str(one["training"]["epochs"]),
                    f"{one['training']['augmentation']['rotation_deg']:.3g}°",
                )
                for one in chosen
            ],
        )


def _tell_judged(results: pd.DataFrame, comparison: Mapping[str, Any]) -> Iterator[str]:
    judged, baseline = comparison["judged"], comparison["baseline"]
    verdict = comparison["verdict"]
    yield f"**{verdict['verdict'].capitalize()}.** {verdict['reason']}"
    test = results[results["split"] == "test"].set_index(["arm", "seed"])
    arms = dict.fromkeys(arm for row in comparison["contrasts"] for arm in _both(row))
    yield _tabulate(
        ("arm", "seeds", "AUC ± sd", "accuracy ± sd", "balanced accuracy", "Brier"),
        [_tell_arm(arm, test.loc[arm]) for arm in [baseline, *(a for a in arms if a != baseline)]],
    )
    yield _tabulate(
        ("difference in AUC", "mean", f"{format_level(comparison['alpha'])} interval", "p"),
        [
            (
                f"`{row['arm']}` − `{row['baseline']}`",
                format_difference(row["difference"]),
                f"{format_difference(row['decisive_low'])} … "
                f"{format_difference(row['decisive_high'])}",
                format_p(row["p_decisive"]),
            )
            for row in comparison["contrasts"]
        ],
    )
    accuracy = test["accuracy"]
    gains = accuracy.loc[judged] - accuracy.loc[baseline]
    told = ", ".join(format_difference(gain) for gain in gains.sort_index())
    yield (
        f"Accuracy of `{judged}` minus `{baseline}`, seed by seed: {told}. The paper's single run "
        f"gained {format_difference(PAPER_GAIN, 2)}; {int((gains >= PAPER_GAIN).sum())} of "
        f"{len(gains)} seeds gain as much here."
    )


def _tell_grid(comparisons: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Say what classifiers reach on other views than their own, as a mean over all seeds."""
    grids = [one["grid"] for one in comparisons if one.get("grid")]
    cells = pd.DataFrame([cell for grid in grids for cell in grid["cells"]])
    if cells.empty:
        return
    cells["sum"] = cells["mean"] * cells["n_seeds"]
    pooled = cells.groupby(["arm", "view"], sort=False)[["sum", "n_seeds"]].sum()
    means = (pooled["sum"] / pooled["n_seeds"]).unstack(sort=False)
    yield _tabulate(
        ("AUC, trained on … and tested on →", *(f"`{view}`" for view in means.columns)),
        [(f"`{arm}`", *map(format_score, row)) for arm, row in means.T.to_dict("list").items()],
    )


def _tell_steps(judged: Mapping[str, Judgement]) -> str:
    steps = decompose(
        [
            gather_decomposed(part, one.comparison, one.predictions, one.images)
            for part, one in judged.items()
        ]
    )
    level = format_level(next(iter(judged.values())).comparison["alpha"])
    return _tabulate(
        ("step", "what is subtracted", "AUC", f"{level} interval", "seeds"),
        [
            (
                f"**{step.name}**" if step.is_total else step.name,
                step.basis,
                format_difference(step.mean),
                f"{format_difference(step.low)} … {format_difference(step.high)}",
                str(step.n_seeds),
            )
            for step in steps
        ],
    )


def _both(contrast: Mapping[str, Any]) -> tuple[str, str]:
    return str(contrast["baseline"]), str(contrast["arm"])


def _tell_arm(arm: str, of_seeds: pd.DataFrame) -> tuple[str, ...]:
    means, sds = of_seeds.mean(numeric_only=True), of_seeds.std(numeric_only=True)
    spread = (f"{format_score(means[n])} ± {format_score(sds[n])}" for n in ("auc", "accuracy"))
    others = (format_score(means[name]) for name in ("balanced_accuracy", "brier"))
    return (f"`{arm}`", str(len(of_seeds)), *spread, *others)


def _tabulate(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
