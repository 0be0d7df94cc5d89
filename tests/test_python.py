"""What `import osteo_ray` offers."""

import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny_runs
from test_cli import draw_images

import osteo_ray
from osteo_ray.base.errors import InputError
from osteo_ray.base.tables import MASKS, read_parts
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.masks import unpack_mask
from osteo_ray.experiment.trials import Trial
from osteo_ray.pipeline.audit import audit_set
from osteo_ray.pipeline.compare.stages import Outcome
from osteo_ray.pipeline.compare.sweeps import Failure

FUNCTIONS = ("audit", "compare", "explain", "judge", "open_run")


def test_import_is_light_and_what_is_offered_is_there() -> None:
    heavy = ("numpy", "pandas", "pydantic", "ray", "rich", "scipy", "torch")
    code = (
        "import sys, osteo_ray\n"
        f"print([name for name in {heavy!r} if name in sys.modules])\n"
        "print(osteo_ray.__version__, osteo_ray.compare.__name__)\n"
        "print([name for name in ('ray', 'torch') if name in sys.modules])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    first, second, third = printed.stdout.splitlines()
    assert (first, third) == ("[]", "[]")
    assert second.endswith(" compare")


def test_everything_that_is_offered_is_typed_and_documented() -> None:
    assert set(osteo_ray.__all__) <= set(dir(osteo_ray))
    for name in osteo_ray.__all__:
        offered = getattr(osteo_ray, name)
        assert offered.__doc__
        if inspect.isfunction(offered):
            signature = inspect.signature(offered)
            assert signature.return_annotation is not inspect.Signature.empty
            assert all(one.annotation is not one.empty for one in signature.parameters.values())
    assert (Path(osteo_ray.__file__).parent / "py.typed").exists()
    with pytest.raises(AttributeError, match="no attribute 'comapre'"):
        osteo_ray.comapre  # noqa: B018


@pytest.fixture(scope="module")
def opened(finished: Outcome) -> Any:
    return osteo_ray.open_run(finished.run.root)


def test_run_opens_with_its_tables(opened: Any, finished: Outcome) -> None:
    assert opened.comparison == finished.comparison
    verdict = opened.verdict
    assert (verdict.verdict, verdict.reason) == tuple(
        finished.comparison["verdict"][key] for key in ("verdict", "reason")
    )
    assert list(opened.verdicts) == [tiny_runs.MODEL]
    pd.testing.assert_frame_equal(opened.results, pd.read_parquet(str(finished.run.results)))
    assert set(opened.predictions["arm"]) == set(tiny_runs.ARMS)
    assert opened.report.is_file()
    contrasts = finished.comparison["contrasts"]
    (axes,) = opened.plot_forest().axes
    assert len(axes.get_yticks()) == 1 + len(contrasts)  # a heading, and a row for each


def test_masks_are_arrays_of_the_images_in_order(opened: Any, finished: Outcome) -> None:
    found = opened.masks(tiny_runs.MODEL, 1)
    side = tiny_runs.SIZE_PX
    assert found.keep_masks.dtype == bool
    assert found.keep_masks.shape == (len(found.image_ids), side, side)
    assert list(found.image_ids) == sorted(found.image_ids)
    rows = read_parts(finished.run.masks, MASKS).to_pylist()
    stored = {
        row["image_id"]: row["keep_mask"]
        for row in rows
        if (row["seed"], row["kind"], row["teacher"]) == (1, "lime", "original")
        and row["error"] is None
    }
    assert set(stored) == set(found.image_ids)
    for name, mask in zip(found.image_ids, found.keep_masks, strict=True):
        assert np.array_equal(mask, unpack_mask(stored[name], ImageSize.square(side)))


def test_pixels_are_those_of_the_images(opened: Any) -> None:
    found = opened.pixels()
    side = tiny_runs.SIZE_PX
    assert found.pixels.shape == (len(opened.images), side, side)
    assert found.pixels.dtype == np.uint8
    assert list(found.image_ids) == sorted(opened.images["image_id"])


@pytest.mark.parametrize(("model", "seed", "kind"), [("x", 0, "lime"), (tiny_runs.MODEL, 9, "lime"),
                                                     (tiny_runs.MODEL, 0, "scorecam")])  # fmt: skip
def test_masks_that_are_not_there_are_named_with_those_that_are(
    opened: Any, model: str, seed: int, kind: str
) -> None:
    with pytest.raises(InputError, match=rf"{model}.*{kind}.*test_byobnet.*lime"):
        opened.masks(model, seed, kind=kind)


def test_what_a_judgement_lacks_is_said(opened: Any, tmp_path: Path) -> None:
    judged = osteo_ray.judge(opened.root, tmp_path / "judged")
    assert judged.verdict.verdict == opened.verdict.verdict
    assert len(judged.results) == len(opened.results)
    assert len(judged.predictions) == len(opened.predictions)
    for ask in (judged.pixels, lambda: judged.masks("a", 0), lambda: judged.image_size):
        with pytest.raises(InputError, match="does not exist"):
            ask()
    with pytest.raises(InputError, match=r"but got `judge`\. Did you mean `judged`"):
        osteo_ray.judge(opened.root, tmp_path / "other", judge="lime")


def test_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Expected a finished run"):
        osteo_ray.open_run(tmp_path)


def test_settings_are_keywords_in_the_words_of_yaml(tmp_path: Path) -> None:
    for kind in (osteo_ray.compare, osteo_ray.audit):
        with pytest.raises(InputError, match="Unknown configuration key `seds`"):
            kind(tmp_path, seds=3)
    with pytest.raises(InputError, match=r"lime\.samples"):
        osteo_ray.compare(lime={"samples": 1})
    with pytest.raises(InputError, match="does not exist"):
        osteo_ray.compare(tmp_path / "nowhere", weights="none")


def test_comparison_audit_and_explanation_from_python(
    local_ray: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd
) -> None:
    tiny_runs.compute_here(monkeypatch)
    settings = {**tiny_runs.TINY, "arms": ["original", "lime"], "seeds": 1}
    run = osteo_ray.compare(out=str(tmp_path / "run"), progress=False, **settings)
    assert set(run.results["arm"]) == {"original", "lime"}
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""
    draw_images(tmp_path / "set", 6)
    checkpoint = next((tmp_path / "run").glob("trials/*/seed-0/original-*/model.safetensors"))
    out = str(tmp_path / "explained")
    found = osteo_ray.explain(
        tmp_path / "set", checkpoint, out=out, lime={"samples": 12}, progress=False
    )
    assert found.n_images - found.n_failed == len(found.masks().image_ids)
    assert found.masks("random").keep_masks.shape[1:] == (tiny_runs.SIZE_PX, tiny_runs.SIZE_PX)
    audited = osteo_ray.audit(run.root / "phantom" / "images", out=str(tmp_path / "a"))
    assert audited.audit["n_images"] == tiny_runs.N_IMAGES
    assert any("cop" in finding for finding in audited.findings)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_on_the_page(name: str) -> None:
    page = Path(__file__).parents[1] / "docs" / "python.md"
    assert f"osteo_ray.{name}(" in page.read_text()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"margin": "narrow"}, "Expected margin to be a number, but got `narrow`."),
        ({"controls": "random_mask"}, "Expected controls to be a list of values, but got `random"),
        ({"looks": 1.5}, "Expected looks to be a whole number, but got 1.5."),
        ({"metric": 3}, "Expected metric to be text, but got 3."),
    ],
)
def test_what_judge_cannot_use_is_refused_as_settings_are(
    asked: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(osteo_ray.InputError, match=re.escape(said)):
        osteo_ray.judge("predictions.csv", out=tmp_path / "out", **asked)
    with pytest.raises(osteo_ray.InputError, match=r"predictions\.csv"):  # margins may be typed
        osteo_ray.judge("predictions.csv", out=tmp_path / "out", margin="0.02")


@pytest.mark.parametrize(("n", "said"), [(1, "1 training is missing"), (2, "2 trainings are mis")])
def test_audit_whose_trainings_failed_is_incomplete(
    n: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = [Failure(Trial("net", seed, "original"), "it died") for seed in range(n)]
    outcome = audit_set.AuditOutcome(Path("audits/set"), {}, failed)
    monkeypatch.setattr(audit_set, "audit", lambda *_: outcome)
    with pytest.raises(osteo_ray.IncompleteError, match=f"^{said}.*it died.*audits/set"):
        osteo_ray.audit("set", measure_leak=True, progress=False)
