"""Cases of a run as pictures: right, wrong and unstable ones, of each class and model."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from typing import Any

import numpy as np
import pyarrow.dataset as ds

from osteo_ray.arms.arm import ORIGINAL
from osteo_ray.base.tables import scan_table
from osteo_ray.report.pictures import PANEL_ARMS, PANEL_LABELS, draw_panels
from osteo_ray.report.results import TEST, Shown
from osteo_ray.report.shown_images import ShownImages

MOST_CASES = 48  # some 100 KB each at 224 px, so that the page of any run stays below 10 MB


@dataclass(frozen=True)
class ArmAnswer:
    """What the classifier of an arm says of an image.

    Attributes:
        arm: Its name.
        predicted: The most probable class.
        probability: Its probability.
        is_right: Whether it is the label.
    """

    arm: str
    predicted: str
    probability: float
    is_right: bool


@dataclass(frozen=True)
class ShownCase:
    """A test image and what is made of it, for one model.

    Attributes:
        model: Name of the network.
        image_id: Of the image.
        label: Its class.
        path: Its path in the source.
        answers: Of each arm that tested it.
        is_unstable: Whether its LIME mask might well differ with other samples.
        error: Why it has no LIME mask; empty if it has one, or if none was to be made.
        panels: Pairs of a name from `PANEL_LABELS` and a data URI, or None if there is no picture.
    """

    model: str
    image_id: str
    label: str
    path: str
    answers: tuple[ArmAnswer, ...]
    is_unstable: bool
    error: str
    panels: tuple[tuple[str, str | None], ...] = ()

    @property
    def right(self) -> list[str]:
        """The arms that predict its class."""
        return [one.arm for one in self.answers if one.is_right]

    @property
    def wrong(self) -> list[str]:
        """The arms that predict another."""
        return [one.arm for one in self.answers if not one.is_right]


def draw_gallery(shown: Shown) -> dict[str, Any]:
    """Choose cases of the first seed, and draw them.

    Returns:
        `cases`, a list of `ShownCase`; `case_arms`, the arms that answer; `absent_panels`, labels
        of what the run keeps of none of them. Controls that were not run have no panels.
    """
    if shown.config is None or not shown.comparison["seeds"]:
        return {"cases": [], "case_arms": [], "absent_panels": []}
    stored = ShownImages(shown.run, shown.config.image_size, shown.comparison["seeds"][0])
    heatmaps = stored.read_heatmaps()
    chosen = choose_cases(list(_list_cases(shown, stored)), shown, set(heatmaps))
    labels = [name for name in PANEL_LABELS if PANEL_ARMS.get(name, ORIGINAL) in shown.arms]
    drawn = list(_draw_cases(chosen, stored, heatmaps, labels))
    there = {label for case in drawn for label, picture in case.panels if picture}
    arms = dict.fromkeys(answer.arm for case in drawn for answer in case.answers)
    return {
        "cases": [_keep_panels(case, there) for case in drawn],
        "case_arms": list(arms),
        "absent_panels": [label for label in labels if label not in there],
    }


def _list_cases(shown: Shown, stored: ShownImages) -> Iterator[ShownCase]:
    """List all test images of the first seed, for each model."""
    rows = {row["image_id"]: row for row in scan_table(shown.run.images).to_pylist()}
    tested = sorted(
        (rows[image_id] for image_id in stored.list_split("test") if image_id in rows),
        key=lambda row: (row["label"], row.get("path", row["image_id"])),
    )
    answers, facts = _read_answers(shown, stored.seed), stored.describe_masks()
    for model in shown.models:
        for row in tested:
            key = (model, row["image_id"])
            fact = facts.get(key, {})
            yield ShownCase(
                *(model, row["image_id"], row["label"], row.get("path", row["image_id"])),
                tuple(answers.get(key, ())),
                bool(fact.get("unstable")),
                fact.get("error") or "",
            )


def _read_answers(shown: Shown, seed: int) -> dict[tuple[str, str], list[ArmAnswer]]:
    """Read what each arm says of the test images of a seed, by model and image."""
    classes = shown.comparison["classes"]
    table = scan_table(shown.run.predictions, TEST & (ds.field("seed") == seed))
    if table.num_rows == 0:
        return {}
    scores = np.stack([table[f"p_{name}"].to_numpy() for name in classes], axis=1)
    order = {arm: number for number, arm in enumerate(shown.arms)}
    found: dict[tuple[str, str], list[ArmAnswer]] = {}
    columns = (table[name].to_pylist() for name in ("model", "image_id", "arm", "label"))
    for model, image_id, arm, label, row in zip(*columns, scores, strict=True):
        best = int(row.argmax())
        answer = ArmAnswer(arm, classes[best], float(row[best]), classes[best] == label)
        found.setdefault((model, image_id), []).append(answer)
    for answers in found.values():
        answers.sort(key=lambda one: order.get(one.arm, len(order)))
    return found


def choose_cases(
    cases: Sequence[ShownCase], shown: Shown, with_heatmap: set[tuple[str, str]]
) -> list[ShownCase]:
    """Choose cases of each model and class in turn, and of each outcome in turn.

    Args:
        cases: All of them.
        shown: The results; tells the baseline and the judged arm.
        with_heatmap: Model and image of those with heat maps, which come first.
    """
    baseline, judged = shown.pair

    def has_no_heatmap(case: ShownCase) -> bool:
        return (case.model, case.image_id) not in with_heatmap

    groups: dict[tuple[str, str], list[ShownCase]] = {}
    for case in sorted(cases, key=has_no_heatmap):
        groups.setdefault((case.model, case.label), []).append(case)
    mixed = []
    for of_group in groups.values():
        kinds = (
            [one for one in of_group if baseline in one.wrong],
            [one for one in of_group if judged in one.wrong],
            [one for one in of_group if one.is_unstable or one.error],
            of_group,
        )
        mixed.append(_take_turns(kinds))
    chosen = _take_turns(mixed)[:MOST_CASES]
    order = {(case.model, case.image_id): number for number, case in enumerate(cases)}
    models = {model: number for number, model in enumerate(shown.models)}

    def place(case: ShownCase) -> tuple[int, str, bool, int]:
        number = order[case.model, case.image_id]
        return models[case.model], case.label, has_no_heatmap(case), number

    return sorted(chosen, key=place)


def _take_turns(lists: Sequence[Sequence[ShownCase]]) -> list[ShownCase]:
    """Join lists, one of each at a time, without what has come already."""
    turns = chain.from_iterable(zip_longest(*lists))
    return list({(one.model, one.image_id): one for one in turns if one is not None}.values())


def _draw_cases(
    cases: Sequence[ShownCase],
    stored: ShownImages,
    heatmaps: Mapping[tuple[str, str], np.ndarray],
    labels: Sequence[str],
) -> Iterator[ShownCase]:
    ids = {case.image_id for case in cases}
    pixels, masks = stored.read_pixels(ids), stored.read_masks(ids)
    superpixels, weights = stored.read_superpixels(ids), stored.read_weights(ids)
    for case in cases:
        image = pixels.get(case.image_id)
        if image is None:
            continue
        key = (case.model, case.image_id)
        panels = draw_panels(
            image,
            masks.get((*key, "lime")),
            masks.get((*key, "random")),
            heatmaps.get(key),
            region=masks.get((*key, "gradcam")),
            superpixels=superpixels.get(case.image_id),
            weights=weights.get(key),
        )
        yield _keep_panels(replace(case, panels=tuple(panels)), labels)


def _keep_panels(case: ShownCase, labels: Collection[str]) -> ShownCase:
    return replace(case, panels=tuple(panel for panel in case.panels if panel[0] in labels))
