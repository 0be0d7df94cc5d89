"""Where the quality of a run is in doubt, and that it is said."""

from typing import Any

import pytest
from rich.console import Console

from osteo_ray.commands.doubts import show_doubts
from osteo_ray.experiment.doubts import list_doubts
from osteo_ray.experiment.mask_notes import FAILED, UNSTABLE


def compare(**changes: Any) -> dict[str, Any]:
    """What comparison.json holds of a run in which nothing is wrong."""
    contrast = {
        "model": "net", "arm": "lime", "baseline": "original", "family": "primary",
        "smallest_detectable": 0.02, "margin": 0.03, "n_seeds": 9,
    }  # fmt: skip
    training = {"model": "net", "arm": "lime", "n": 9, "collapsed": [], "diverged": []}
    return {
        "metric": "auc",
        "judged": "lime",
        "baseline": "original",
        "verdicts": [{"model": "net", "verdict": "equivalent"}],
        "contrasts": [contrast],
        "trainings": [training],
        "mask_notes": [],
        **changes,
    }


def note(text: str, n: int) -> list[dict[str, Any]]:
    return [{"model": "net", "kind": "lime", "note": text, "n": n, "n_masks": 100}]


INCONCLUSIVE = [{"model": "net", "verdict": "inconclusive"}]
WEAK = {**compare()["contrasts"][0], "smallest_detectable": 0.2}


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, []),
        ({"mask_notes": note(UNSTABLE, 20)}, ["20 % of the masks of the kind lime are unstable"]),
        ({"mask_notes": note(UNSTABLE, 19)}, []),
        ({"mask_notes": note(FAILED, 1)}, ["1 % of the masks of the kind lime could not be made"]),
        ({"mask_notes": note("another remark", 100)}, []),
        (
            {"verdicts": [{"model": "net", "verdict": "nothing learned"}]},
            ["net may have learned"],
        ),
        ({"verdicts": INCONCLUSIVE}, []),
        ({"contrasts": [WEAK]}, []),  # the verdict is settled, whatever the power was
        ({"verdicts": INCONCLUSIVE, "contrasts": [WEAK]}, ["With 9 seeds", "0.200 in AUC"]),
        (
            {"verdicts": INCONCLUSIVE, "contrasts": [{**WEAK, "smallest_detectable": 1.286}]},
            ["no difference that AUC can have would probably be found"],
        ),
        ({"verdicts": INCONCLUSIVE, "contrasts": [{**WEAK, "arm": "silhouette"}]}, []),
        (
            {"trainings": [{**compare()["trainings"][0], "collapsed": [1, 4]}]},
            ["net, lime: 2 of 9 trainings predict one class"],
        ),
        (
            {"trainings": [{**compare()["trainings"][0], "collapsed": [4]}]},
            ["net, lime: 1 of 9 trainings predicts one class"],
        ),
        (
            {"trainings": [{**compare()["trainings"][0], "diverged": [1]}]},
            ["net, lime: 1 of 9 trainings diverged"],
        ),
    ],
)
def test_doubts_are_listed(changes: dict[str, Any], found: list[str]) -> None:
    said = list_doubts(compare(**changes))
    assert len(said) == bool(found)
    assert all(words in said[0] for words in found)


def test_tables_without_masks_and_trainings_raise_none() -> None:
    judged = compare()
    del judged["trainings"], judged["mask_notes"]
    assert list_doubts(judged) == []


def test_banner_is_shown_only_where_there_is_doubt() -> None:
    for changes, shown in (({}, False), ({"mask_notes": note(UNSTABLE, 50)}, True)):
        console = Console(record=True, width=80)
        show_doubts(console, compare(**changes))
        assert ("Read with care" in console.export_text()) == shown
