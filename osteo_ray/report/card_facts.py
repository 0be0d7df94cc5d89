"""What a run knows of itself, as sentences with the place where each is found."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from osteo_ray.arms.registry import label_words
from osteo_ray.base.formatting import format_level, format_mean_count, format_score
from osteo_ray.base.forms import GROUP, PLANS, read_record
from osteo_ray.config.compare import CompareConfig
from osteo_ray.data.splits.wording import word_balance, word_disjoint, word_split
from osteo_ray.report.results import Shown
from osteo_ray.statistics.metrics.registry import METRICS

NOT_FOR_USE = "For research. Not a medical device, and not for clinical use."


def list_facts(
    shown: Shown, *, calibrated: bool, subgroups: pd.DataFrame, decisions: bool
) -> dict[str, str]:
    """Return what the items of checklists ask for, by name, as far as it is known.

    Args:
        shown: The run, or a judgement.
        calibrated: Whether calibration was measured.
        subgroups: The table of subgroups; empty if none are known.
        decisions: Whether there is a decision curve.
    """
    facts = dict(_list_results(shown))
    facts |= {
        "recalibration": "calibration.csv: slope and intercepts before and after a temperature "
        "that validation images set"
        if calibrated
        else "",
        "subgroups": "subgroups.csv: AUC by "
        + " and ".join(dict.fromkeys(subgroups["property"]))
        + ". Sex and age are not kept"
        if len(subgroups)
        else "",
    }
    if decisions:
        facts["output"] += "; decision-curve.csv: net benefit at each threshold"
    audit = _read(shown, "audit")
    facts |= dict(_list_data(audit, shown.config))
    if shown.config is not None:
        facts |= dict(_list_settings(shown, shown.config, audit))
    said = {name: label_words(facts[name]) for name in ("aim", "verdict", "next", "limits")}
    return {name: text for name, text in {**facts, **said}.items() if text}


def _read(shown: Shown, name: str) -> Any:
    place = getattr(shown.run, name)
    return read_record(place, PLANS if name == "plan" else GROUP) if place.is_file() else {}


def _list_results(shown: Shown) -> Iterator[tuple[str, str]]:
    c, is_run = shown.comparison, shown.config is not None  # else the page has fewer sections
    yield "use", f"{NOT_FOR_USE} To find out whether "\
        f"{'masks help' if is_run else c['judged'] + ' helps'}, and why"  # fmt: skip
    yield "aim", f"Is {c['judged']} better than {c['baseline']} in {shown.metric}, and is it real?"
    yield "classes", f"{', '.join(c['classes'])}, as the source names them; how they were assessed"\
        " is not known to the run"  # fmt: skip
    yield "verdict", f"{c['verdict']['verdict'].capitalize()}: {c['verdict']['reason']}"
    yield "next", c["verdict"]["next"]
    remarks = [f"{one['model']}: {text}" for one in c["verdicts"] for text in one["remarks"]]
    yield "limits", " ".join(remarks)
    test, train = format_mean_count(c["n_test"]), "an unknown number of"
    if c["n_train"] is not None:
        train = format_mean_count(c["n_train"])
    yield "counts", f"{test} test and {train} training images per seed, {len(c['seeds'])} seeds"
    label = METRICS[c["metric"]].label
    yield "metrics", f"{label} decides; all others: results.parquet, report.html#results"
    pages = "#results, #contrasts" + ", #confusion" * is_run
    yield "performance", f"report.html{pages}: "\
        f"{format_level(c['alpha'])} intervals over seeds"  # fmt: skip
    two_way = "two-way bootstrap by seed and group of images"
    if shown.corrected_t_counts:
        error = f"corrected t (Nadeau and Bengio) and {two_way}, the more cautious decides"
    elif c["fixed_test_set"]:
        error = f"{two_way} decides alone, as all seeds test the same images"
    else:
        error = f"{two_way} decides alone, as the number of training images is unknown"
    yield "statistics", f"{error}; Holm over models"
    output = "probability per class"
    if any(row.get("threshold") is not None for row in c.get("operating_points", [])):
        output += "; threshold of the largest balanced accuracy on validation images "\
            f"({'report.html, all metrics' if is_run else 'results.parquet'})"  # fmt: skip
    yield "output", output
    if c.get("sites"):
        yield "site_results", "report.html#sites: performance at each site"
    external = c["external"]
    if external:
        yield "external", f"{external['name']}, {external['n_images']} images: report.html#external"
    power = f"differences below {shown.name_margin(format_score)} do not matter"
    if shown.corrected_t_counts:
        power += "; smallest detectable difference per contrast: "
        power += "report.html#contrasts" if is_run else "comparison.json"
    yield "power", power


def _list_data(audit: dict[str, Any], config: CompareConfig | None) -> Iterator[tuple[str, str]]:
    if not audit:
        return
    counts = ", ".join(f"{n} {name}" for name, n in audit.get("classes", {}).items())
    yield "data", f"{audit['n_images']} images ({counts}); where they come from: see the source"
    rejected, aside = audit.get("n_rejects", 0), audit.get("set_aside", 0)
    yield "flow", f"{audit['n_images']} read, {rejected} rejected (rejects.parquet), {aside} set "\
        "aside as their copies contradict each other (audit.json)"  # fmt: skip
    yield "selection", f"files that can be read and have a class; {aside} set aside"
    yield "missing", f"files that cannot be read are left out, {rejected} here (rejects.parquet)"
    found = "; ".join(audit.get("findings", []))
    pixels = f"resized to {config.image_size.tell()}, gray, {config.bits} bits; " if config else ""
    yield "preparation", f"{pixels}searched for copies, conflicts and "\
        f"shortcuts{': ' + found if found else ''} (audit.json)"  # fmt: skip
    yield "imbalance", counts + _tell_balance(config)


def _tell_balance(config: CompareConfig | None) -> str:
    if config is None:
        return ""
    balance = word_balance(config.split)
    if config.training.loss.class_weights == "none":
        return f"; {balance}; the loss weights all images alike"
    return f"; {balance}; the loss weights each class by how few training images it has"


def _list_settings(
    shown: Shown, config: CompareConfig, audit: dict[str, Any]
) -> Iterator[tuple[str, str]]:
    training, environment = config.training, _read(shown, "environment")
    size = config.image_size
    yield "predictors", f"the pixels of one image, {size.tell()}, and nothing else"
    divided = word_split(config.split, config.split_ratio, config.folds)
    yield "split", f"{config.split}: {divided} (splits.parquet)"
    yield "disjoint", word_disjoint(config.split)
    yield "model", f"{', '.join(config.models)}; head: docs/networks.md"
    weights = "random" if config.weights == ("none",) else "pretrained on other images"
    yield "start", f"{weights} (config.yaml: weights)"
    yield "training", f"recipe {training.recipe}, {training.epochs} epochs, "\
        f"{training.optimizer.name}, learning rate {training.learning_rate:g} (config.yaml); "\
        "curves: report.html#trainings"  # fmt: skip
    yield (
        "keep",
        "the epoch with the lowest loss on validation images"
        if (training.keep == "best")
        else "the last epoch",
    )
    yield "prediction", "osteo-ray predict: mean over seeds of calibrated probabilities"
    yield "explanations", f"LIME, {config.lime.samples} samples at most, and others: "\
        "report.html#gallery; stability and faithfulness beside it"  # fmt: skip
    yield "robustness", f"arms {', '.join(config.arms)}: report.html#method"
    yield "failures", "report.html#gallery: wrong and unstable cases"
    yield "weights", "trials/…/model.safetensors; osteo-ray export --as safetensors"
    code = environment.get("versions", {}).get("osteo-ray code")
    yield "code", f"osteo_ray, code {code}; config.yaml repeats the run" if code else ""
    versions = environment.get("versions", {})
    yield "software", ", ".join(f"{name} {version}" for name, version in versions.items())
    plans = _read(shown, "plan")
    yield "plan", f"plan.json, hash {plans[-1]['hash']}, before the first training" if plans else ""
    if config.split == "site":
        yield "sites", "one site is left out at a time (images.parquet: site)"
    if config.data == "phantom":
        yield "data", f"{audit.get('n_images', 'some')} synthetic knees: no image of a patient"
