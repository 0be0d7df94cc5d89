"""Explaining that was interrupted, or is asked for otherwise than before; all in this process."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from test_explain_command import LIME, SIZE_PX, store
from test_kept_classifiers import make_explainable, write_phantom_pixels
from test_trials import make_experiment
from tiny_runs import configure, explain_here, stay_quiet
from without_ray import _read, compare_here

from osteo_ray.base import joined_tables
from osteo_ray.base.errors import IncompleteError, InputError
from osteo_ray.base.joined_tables import join_parts
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import (
    FAITHFULNESS,
    MASKS,
    list_parts,
    read_parts,
    write_json,
    write_yaml,
)
from osteo_ray.cluster.placement import lay_out
from osteo_ray.commands.explain import parse_explain
from osteo_ray.commands.main import main
from osteo_ray.config.build import build_config
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.phantoms.sets import write_phantoms
from osteo_ray.data.settings import PhantomSettings
from osteo_ray.experiment.soundness import refuse_repeats
from osteo_ray.explain.jobs import plan_job, read_done
from osteo_ray.explain.settings import LimeSettings
from osteo_ray.pipeline.compare import stages
from osteo_ray.pipeline.compare.model_check import check_models
from osteo_ray.pipeline.compare.prepare import list_new_arms
from osteo_ray.pipeline.compare.stages import compare
from osteo_ray.pipeline.explain import actor, explain_set, prepare_set
from osteo_ray.pipeline.explain.prepare_set import find_subject, locate_set
from osteo_ray.pipeline.ingest import reading
from osteo_ray.report.page import write_report

N_IMAGES = 4
KEYS = ("model", "seed", "kind", "image_id")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    write_phantoms(root, PhantomSettings(n_images=N_IMAGES, size_px=80, duplicate_share=0.0))
    return root / "images"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store(tmp_path_factory.mktemp("checkpoint") / "model.safetensors")


@pytest.fixture
def explaining_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace all that `osteo-ray explain` does on a cluster."""

    def plan(settings: Any, say: object) -> Any:
        return lay_out([{"CPU": 1.0, "memory": float(2**32)}], settings)

    for name, stand_in in {
        "is_cluster_given": lambda: True,
        "connect": nullcontext,
        "plan_resources": plan,
        "check_checkpoint": SimpleNamespace(remote=lambda *_: []),
        "confirm": lambda check: None,
        "follow_reading": lambda *_: nullcontext(),
        "explain_images": explain_here,
    }.items():
        monkeypatch.setattr(explain_set, name, stand_in)
    monkeypatch.setattr(prepare_set, "describe_environment", lambda layout: {})
    monkeypatch.setattr(reading, "_read_blocks", _read)


def test_joining_that_was_interrupted_is_finished_though_no_mask_is_missing(
    images: Path,
    checkpoint: Path,
    explaining_here: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Run(tmp_path / "out")
    command = ["explain", str(images), "--checkpoint", str(checkpoint), *LIME]
    command += ["--method", "gradcam", "--out", str(run.root)]
    assert main(command) == 0

    def die(folder: Path, names: set[str]) -> None:
        if names:
            raise OSError("No space left on device")

    monkeypatch.setattr(joined_tables, "_MOST_SMALL", 0)
    with monkeypatch.context() as patch:
        patch.setattr(joined_tables, "forget_files", die)  # what comes before files are removed
        with pytest.raises(OSError, match="No space"):
            join_parts(run.masks, run.faithfulness)
    assert read_parts(run.masks, MASKS).num_rows == 2 * N_IMAGES
    monkeypatch.setattr(explain_set, "connect", None)  # Ray is not even asked
    assert main(command) == 0
    assert read_parts(run.masks, MASKS).num_rows == N_IMAGES
    refuse_repeats(run.faithfulness, read_parts(run.faithfulness, FAITHFULNESS), KEYS)
    assert [Path(part).name[:7] for part in list_parts(run.masks)] == ["joined-"]
    assert main(["verify", str(run.root)]) == 0


@pytest.mark.parametrize("content", [None, "", '{"checkpoint": {"digest": "0"}}'])
def test_record_of_explanations_that_is_damaged_is_restored(
    images: Path,
    checkpoint: Path,
    explaining_here: None,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    content: str | None,
) -> None:
    run = Run(tmp_path / "out")
    command = ["explain", str(images), "--checkpoint", str(checkpoint), *LIME]
    command += ["--method", "gradcam", "--out", str(run.root)]
    assert main(command) == 0
    known = run.environment.read_bytes()
    run.environment.unlink()
    if content is not None:
        run.environment.write_text(content)
    assert main(command) == 0
    assert "environment.json was" in capfd.readouterr().err
    assert run.environment.read_bytes() == known
    assert main(["verify", str(run.root)]) == 0


def test_log_of_explaining_that_fails_is_kept(
    images: Path,
    checkpoint: Path,
    explaining_here: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **named: object) -> None:
        print("what a library says")
        raise IncompleteError("An explaining actor failed.")

    monkeypatch.setattr(explain_set, "explain_images", fail)
    out = tmp_path / "out"
    command = ["explain", str(images), "--checkpoint", str(checkpoint), *LIME, "--out", str(out)]
    assert main(command) == 1
    assert "what a library says" in (out / "logs" / "driver.log").read_text()


def test_figures_are_there_once_though_their_masks_were_lost_and_slices_are_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(tmp_path / "0.safetensors")
    write_phantom_pixels(tmp_path / "pixels.parquet", N_IMAGES)
    ids = frozenset(map(str, range(N_IMAGES)))
    explainable = make_explainable(
        tmp_path, 0, kinds=("gradcam",), wanted=ids, faithfulness_ids=ids
    )

    def explain(*starts: int) -> None:
        job = plan_job(
            [replace(explainable, done=read_done(explainable.masks))],
            LimeSettings(),
            n_classes=2,
            image_size=ImageSize.square(SIZE_PX),
        )
        batch = {
            "file": np.array([str(tmp_path / "pixels.parquet")] * len(starts)),
            "start": np.array(starts),
            "stop": np.array([*starts[1:], N_IMAGES]),
        }
        list(actor.ExplainingActor(job)(batch))

    def die(*_: object) -> None:
        raise SystemExit("killed")

    with monkeypatch.context() as patch:
        patch.setattr(actor, "list_mask_rows", die)  # the figures are written already
        with pytest.raises(SystemExit):
            explain(0)
    explain(0, 2)
    join_parts(explainable.masks, explainable.faithfulness)
    figures = read_parts(explainable.faithfulness, FAITHFULNESS)
    refuse_repeats(explainable.faithfulness, figures, KEYS)
    assert 0 < len(figures) <= N_IMAGES


@pytest.mark.parametrize("method", ["lime", "gradcam", "random"])
def test_masks_of_another_precision_are_others(
    method: str, checkpoint: Path, tmp_path: Path
) -> None:
    flags = ["/d", "--checkpoint", str(checkpoint)]
    reduced = ["--lime.precision", "bf16"]
    subject = find_subject(str(checkpoint))

    def locate(*more: str, method: str = method) -> Run:
        return locate_set(parse_explain([*flags, "--method", method, *more]), subject)

    assert locate("--lime.precision", "fp32").root == locate().root != locate(*reduced).root
    for stored, other, told in (
        (reduced, [], "there bf16, here fp32"),
        ([], reduced, "there fp32, here bf16"),
    ):
        run = Run(tmp_path / told[:10])
        out = ["--out", str(run.root)]
        config = parse_explain([*flags, "--method", method, *stored, *out])
        write_yaml(run.config, config.model_dump(mode="json"))
        write_json(run.environment, {"checkpoint": {"digest": subject.digest}})
        assert locate(*stored, *out).root == run.root
        with pytest.raises(InputError, match=rf"differs in lime\.precision \({told}\)\."):
            locate(*other, *out)
    with pytest.raises(InputError, match=r"differs in method \(there \w+, here eigencam\)\."):
        locate(*out, method="eigencam")


def test_settings_without_the_precision_are_those_of_before() -> None:
    gradcam = parse_explain(["/d", "--method", "gradcam"]).identity()
    assert gradcam == {"data": "/d", "method": "gradcam", "area": 0.2, "max_reject_share": 0.1}


def test_arms_that_a_network_cannot_have_are_refused_before_an_image_is_read(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def confirm(problems: list[str]) -> None:
        if problems:
            raise InputError("\n".join(problems))

    def read(*_: object, **__: object) -> None:
        pytest.fail("an image was read")

    compare_here(monkeypatch)
    check = SimpleNamespace(remote=check_models._function)  # type: ignore[attr-defined]
    monkeypatch.setattr(stages, "check_models", check)
    monkeypatch.setattr(stages, "confirm", confirm)
    monkeypatch.setattr(stages, "create_run", read)
    changes = {"data": str(images), "models": ["test_vit"], "weights": ["none"]}
    config = configure(tmp_path / "run", **changes, arms=["original", "lime", "gradcam"])
    with pytest.raises(
        InputError, match=r"`gradcam` can explain.*`test_vit` cannot.*a CNN\. Leave"
    ):
        compare(config, stay_quiet(), write_report=write_report)
    config = configure(tmp_path / "run", **changes, arms=["original", "lime"])
    with pytest.raises(pytest.fail.Exception, match="an image was read"):
        compare(config, stay_quiet(), write_report=write_report)


def test_arms_that_a_run_has_are_not_new(tmp_path: Path) -> None:
    experiment = make_experiment(tmp_path, arms=["original", "lime", "gradcam"])
    run, names = experiment.run, ["original", "gradcam", "layercam"]
    config = build_config({"data": "/knees", "arms": names})
    assert list_new_arms(run, config) == names
    stored = build_config({"data": "/knees", "arms": ["original", "lime", "gradcam"]})
    write_yaml(run.config, stored.model_dump(mode="json"))
    assert list_new_arms(run, config) == ["layercam"]
