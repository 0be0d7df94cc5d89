"""`osteo-ray explain`: a set of images and one trained classifier, without a comparison."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch
from PIL import Image

from osteo_ray.base.digests import write_sealed
from osteo_ray.base.mappings import hash_settings
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import MASKS, READ_IMAGES, list_parts, read_json, read_parts, write_table
from osteo_ray.commands.entrypoint import run_entrypoint
from osteo_ray.commands.explain import parse_explain
from osteo_ray.commands.main import main
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.masks import unpack_mask
from osteo_ray.data.phantoms.sets import write_phantoms
from osteo_ray.data.settings import PhantomSettings
from osteo_ray.explain.jobs import Explainable, list_kinds, plan_job
from osteo_ray.explain.settings import LimeSettings
from osteo_ray.models.checkpoint import Checkpoint
from osteo_ray.models.classifier import build_classifier, save_classifier
from osteo_ray.pipeline.explain import explain_set
from osteo_ray.pipeline.explain.actor import ExplainingActor

MODEL, SIZE_PX, CLASSES = "test_byobnet", 64, ("normal", "osteoporosis")
N_PHANTOMS = 8
# Few superpixels, and few samples, to be fast.
BOUNDED = {"samples": 32, "kernel_size": 10.0, "max_dist": 6.0, "ratio": 1.0}
LIME = [part for name, value in BOUNDED.items() for part in (f"--lime.{name}", str(value))]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images, without subfolders: phantoms, a blank one, and no image at all."""
    root = tmp_path_factory.mktemp("images")
    settings = PhantomSettings(n_images=N_PHANTOMS, size_px=80, duplicate_share=0.0)
    write_phantoms(root / "phantoms", settings)
    flat = root / "flat"
    flat.mkdir()
    for path in (root / "phantoms" / "images").rglob("*.png"):
        shutil.copy(path, flat)
    Image.new("L", (SIZE_PX, SIZE_PX), 128).save(flat / "blank.png")
    (flat / "broken.png").write_text("no image")
    return flat


def store(path: Path, model: str = MODEL, says: Checkpoint | None = None, seed: int = 3) -> Path:
    """Write a checkpoint that says of itself what is given."""
    says = says or Checkpoint(model, CLASSES, ImageSize.square(SIZE_PX))
    classifier = build_classifier(
        model,
        n_classes=len(CLASSES),
        image_size=ImageSize.square(SIZE_PX),
        weights="none",
        seed=seed,
    )
    # Statistics of some images, as training would leave: without, features fade to nothing.
    for module in classifier.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.inference_mode():
        noise = torch.from_numpy(np.random.default_rng(0).random((8, 1, 8, 8), np.float32))
        classifier.train()(torch.nn.functional.interpolate(noise, SIZE_PX, mode="bilinear"))
    save_classifier(classifier, path, says)
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store(tmp_path_factory.mktemp("checkpoint") / "model.safetensors")


@pytest.fixture(scope="module")
def arguments(images: Path, checkpoint: Path) -> list[str]:
    flags = ["--checkpoint", str(checkpoint), "--max-reject-share", "0.2"]
    return ["explain", str(images), *flags, *LIME]


@pytest.fixture(scope="module")
def explained(
    arguments: list[str], tmp_path_factory: pytest.TempPathFactory, local_ray: None
) -> Run:
    """What the command leaves, with LIME."""
    out = tmp_path_factory.mktemp("explained") / "out"
    assert main([*arguments, "--out", str(out)]) == 0
    return Run(out)


@pytest.fixture
def copied(explained: Run, tmp_path: Path) -> Run:
    return Run(Path(shutil.copytree(explained.root, tmp_path / "copy")))


Fail = Callable[..., str]


@pytest.fixture
def fail(capfd: pytest.CaptureFixture[str]) -> Fail:
    """Run a command that must end with exit code 2 and no traceback; return what it printed."""

    def run(*arguments: str) -> str:
        code = main(list(arguments))
        printed = " ".join("".join(capfd.readouterr()).replace("│", " ").split())
        assert code == 2, printed
        assert "Traceback" not in printed
        return printed

    return run


def read_masks(directory: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = read_parts(directory, MASKS).to_pylist()
    return sorted(rows, key=lambda row: (row["kind"], row["image_id"]))


def explain_in_process(
    run: Run, checkpoint: Path, masks: Path, method: str = "lime", **changes: Any
) -> None:
    ids = frozenset(pq.read_table(run.images)["image_id"].to_pylist())
    explainable = Explainable(
        model=MODEL,
        seed=0,
        fingerprint=hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        lime_seed=0,
        checkpoint=checkpoint,
        frozen=masks / "frozen",
        masks=masks,
        faithfulness=masks,
        heatmaps=masks,
        wanted=ids,
        kinds=list_kinds(method),
        **changes,
    )
    settings = LimeSettings(**BOUNDED)
    actor = ExplainingActor(
        plan_job([explainable], settings, n_classes=2, image_size=ImageSize.square(SIZE_PX))
    )
    for part in list_parts(run.pixels):
        n_rows = pq.read_metadata(part).num_rows
        batch = {"file": [part], "start": [0], "stop": [n_rows]}
        list(actor({name: np.array(value) for name, value in batch.items()}))


def list_times(run: Run) -> dict[str, int]:
    return {path: Path(path).stat().st_mtime_ns for path in list_parts(run.masks)}


@pytest.mark.ray
class TestLime:
    def test_masks_equal_those_of_one_process(
        self, explained: Run, checkpoint: Path, tmp_path: Path
    ) -> None:
        explain_in_process(explained, checkpoint, tmp_path)
        found = read_masks(explained.masks)
        assert found == read_masks(tmp_path)
        kinds = [row["kind"] for row in found]
        assert kinds == ["gradcam"] * 9 + ["lime"] * 9 + ["random"] * 9
        areas = {
            unpack_mask(row["keep_mask"], ImageSize.square(SIZE_PX)).sum()
            for row in found
            if not row["error"]
        }
        assert len(areas) > 4

    def test_what_is_left(self, explained: Run, images: Path, checkpoint: Path) -> None:
        table = pq.read_table(explained.images)
        assert table.column_names == READ_IMAGES.names
        assert set(table["path"].to_pylist()) == {p.name for p in images.iterdir()} - {"broken.png"}
        assert pd.read_parquet(explained.rejects)["path"].tolist() == ["broken.png"]
        stored = read_json(explained.environment)
        assert stored["checkpoint"]["model"] == MODEL
        assert stored["checkpoint"]["classes"] == list(CLASSES)
        assert set(stored["durations_s"]) == {"start Ray", "read images", "explain"}
        assert explained.config.exists()
        left = {path.name for path in explained.root.iterdir()}
        assert left == {
            *("config.yaml", "environment.json", "images.parquet", "rejects.parquet"),
            *("pixels", "masks", "faithfulness", "logs", "spare", ".digests.json"),
        }

    def test_an_image_that_cannot_be_explained_is_counted(
        self, explained: Run, arguments: list[str], capfd: pytest.CaptureFixture[str]
    ) -> None:
        errors = [row["error"] for row in read_masks(explained.masks) if row["kind"] == "lime"]
        assert sum(error is not None for error in errors) == 1
        assert main([*arguments, "--out", str(explained.root)]) == 0
        printed = " ".join(capfd.readouterr().out.split())
        assert (
            "images 9 explained 8 in this run of the command 0 failed 1 files refused 1" in printed
        )
        assert "The first was blank.png: Expected an image that shows something" in printed

    def test_a_rerun_computes_nothing(
        self, explained: Run, arguments: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = list_times(explained)
        monkeypatch.setattr(explain_set, "connect", None)  # Ray is not even asked
        assert main([*arguments, "--out", str(explained.root)]) == 0
        assert list_times(explained) == before

    def test_only_what_is_missing_is_made_again(
        self, copied: Run, explained: Run, arguments: list[str], capfd: pytest.CaptureFixture[str]
    ) -> None:
        lost = Path(list_parts(copied.masks)[0])
        n_lost = pq.read_metadata(lost).num_rows // 2
        lost.unlink()
        before = list_times(copied)
        assert main([*arguments, "--out", str(copied.root)]) == 0
        assert read_masks(copied.masks) == read_masks(explained.masks)
        after = list_times(copied)
        assert before.items() <= after.items()
        assert f"in this run of the command {n_lost} " in " ".join(capfd.readouterr().out.split())

    @pytest.mark.parametrize(
        ("flags", "difference"),
        [
            (["--lime.top-k", "2"], "lime.top_k (there 5, here 2)"),
            (["--seed", "1"], "seed (there 0, here 1)"),
            (["--method", "gradcam"], "method (there lime, here gradcam)."),
        ],
        ids=" ".join,
    )
    def test_other_settings_are_refused(
        self, explained: Run, arguments: list[str], fail: Fail, flags: list[str], difference: str
    ) -> None:
        before = list_times(explained)
        printed = fail(*arguments, "--out", str(explained.root), *flags)
        assert f"differs in {difference}" in printed
        assert "Choose another --out" in printed
        assert list_times(explained) == before

    def test_settings_of_the_other_method_do_not_matter(
        self, explained: Run, arguments: list[str]
    ) -> None:
        assert main([*arguments, "--out", str(explained.root), "--area", "0.7"]) == 0

    def test_another_checkpoint_is_refused_and_a_moved_one_is_not(
        self, explained: Run, arguments: list[str], checkpoint: Path, tmp_path: Path, fail: Fail
    ) -> None:
        moved = shutil.copy(checkpoint, tmp_path / "moved.safetensors")
        there = arguments.index("--checkpoint") + 1
        again = [*arguments[:there], str(moved), *arguments[there + 1 :]]
        assert main([*again, "--out", str(explained.root)]) == 0
        store(
            Path(moved),
            says=Checkpoint(MODEL, ("osteoporosis", "normal"), ImageSize.square(SIZE_PX)),
        )
        printed = fail(*again, "--out", str(explained.root))
        assert "differs in the content of the checkpoint (there SHA-256 " in printed

    def test_changed_images_are_refused(
        self, explained: Run, arguments: list[str], images: Path, tmp_path: Path, fail: Fail
    ) -> None:
        (images / "new.png").write_text("new")
        try:
            printed = fail(*arguments, "--out", str(explained.root))
        finally:
            (images / "new.png").unlink()
        assert "names, labels or sizes have changed" in printed

    def test_masks_of_another_version_are_refused(
        self, copied: Run, arguments: list[str], fail: Fail
    ) -> None:
        part = Path(list_parts(copied.masks)[0])
        table = pq.read_table(part)
        earlier = table.replace_schema_metadata({b"osteo_ray": b"1"})
        write_table(part, earlier, how=write_sealed)
        printed = fail(*arguments, "--out", str(copied.root))
        assert f"found version 1 in {part}" in printed


@pytest.mark.ray
def test_gradcam_keeps_the_area_that_is_asked_for(
    arguments: list[str], checkpoint: Path, tmp_path: Path, local_ray: None
) -> None:
    run = Run(tmp_path / "out")
    flags = ["--method", "gradcam", "--area", "0.15", "--out", str(run.root)]
    assert main([*arguments, *flags]) == 0
    found = read_masks(run.masks)
    assert len(found) == 9
    assert {row["kind"] for row in found} == {"gradcam"}
    good = [row for row in found if row["error"] is None]
    assert len(good) >= 6
    for row in good:
        assert unpack_mask(row["keep_mask"], ImageSize.square(SIZE_PX)).sum() == round(
            0.15 * SIZE_PX**2
        )
        assert row["explained_class"] in (0, 1)
    for name in ("weights", "n_samples", "local_fit"):
        assert {row[name] for row in found} == {None}
    explain_in_process(run, checkpoint, tmp_path / "alone", method="gradcam", area=0.15)
    assert found == read_masks(tmp_path / "alone")


class TestRefusals:
    """Bad input; nothing may be written."""

    @pytest.fixture(autouse=True)
    def _nothing_written(self, tmp_path: Path):
        yield
        assert not (tmp_path / "out").exists()
        assert not list(tmp_path.glob(".out*"))

    def test_no_checkpoint(self, fail: Fail, images: Path, tmp_path: Path) -> None:
        printed = fail("explain", str(images), "--out", str(tmp_path / "out"))
        assert "Expected --checkpoint FILE, the classifier to explain" in printed

    def test_unusable_checkpoints(self, fail: Fail, images: Path, tmp_path: Path) -> None:
        file = tmp_path / "model.safetensors"
        start = ["explain", str(images), "--out", str(tmp_path / "out"), "--checkpoint", str(file)]
        assert f"{file} does not exist" in fail(*start)
        file.write_text("not tensors")
        assert "in safetensors format" in fail(*start)
        safetensors.torch.save_file({"a": torch.zeros(1)}, file)
        assert "Expected a checkpoint that osteo_ray wrote" in fail(*start)
        store(file, says=Checkpoint(MODEL, ("normal",), ImageSize.square(SIZE_PX)))
        assert "at least two classes" in fail(*start)

    def test_out_that_cannot_be_used(
        self, fail: Fail, arguments: list[str], tmp_path: Path
    ) -> None:
        (tmp_path / "thesis.txt").write_text("precious")
        printed = fail(*arguments, "--out", str(tmp_path))
        assert "holds something else" in printed
        printed = fail(*arguments, "--out", str(tmp_path / "thesis.txt" / "out"))
        assert f"{tmp_path / 'thesis.txt'} is not a folder" in printed
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "config.yaml").write_text("seeds: 3\n")
        (tmp_path / "run" / "environment.json").write_text("{}\n")
        printed = fail(*arguments, "--out", str(tmp_path / "run"))
        assert "holds something else" in printed
        assert (tmp_path / "thesis.txt").read_text() == "precious"

    def test_out_that_may_not_be_written_to(
        self, fail: Fail, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write anywhere
        printed = fail(*arguments, "--out", str(tmp_path / "out" / "below"))
        assert f"{tmp_path} may not be written to" in printed

    def test_no_images(self, fail: Fail, checkpoint: Path, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        start = ["explain", "--checkpoint", str(checkpoint), "--out", str(tmp_path / "out")]
        assert "but found none" in fail(*start, "--data", str(tmp_path / "empty"))

    @pytest.mark.ray
    def test_tensors_of_another_architecture(
        self, fail: Fail, images: Path, tmp_path: Path, local_ray: None
    ) -> None:
        file = tmp_path / "model.safetensors"
        store(file, says=Checkpoint("test_efficientnet", CLASSES, ImageSize.square(SIZE_PX)))
        printed = fail(
            "explain", str(images), "--out", str(tmp_path / "out"), "--checkpoint", str(file),
            "--max-reject-share", "0.2",
        )  # fmt: skip
        assert "Expected tensors of a `test_efficientnet` with 2 classes" in printed
        assert "`backbone.conv_stem.weight` is missing" in printed

    @pytest.mark.ray
    def test_gradcam_of_a_model_without_feature_map(
        self, fail: Fail, images: Path, tmp_path: Path, local_ray: None
    ) -> None:
        file = store(tmp_path / "model.safetensors", "test_vit")
        printed = fail(
            "explain", str(images), "--out", str(tmp_path / "out"), "--checkpoint", str(file),
            "--max-reject-share", "0.2", "--method", "gradcam",
        )  # fmt: skip
        assert "`test_vit`" in printed
        assert "Use --method lime" in printed


class TestSettings:
    def identify(self, *flags: str) -> str:
        return hash_settings(parse_explain(["/d", *flags]).identity())

    @pytest.mark.parametrize(
        "flags",
        [
            ["--seed", "1"],
            ["--method", "gradcam"],
            ["--lime.samples", "7"],
        ],
        ids=" ".join,
    )
    def test_identity_changes_with_what_changes_masks(self, flags: list[str]) -> None:
        assert self.identify(*flags) != self.identify()

    @pytest.mark.parametrize(
        "flags",
        [
            ["--out", "/elsewhere"],
            ["--checkpoint", "/moved"],
            ["--area", "0.5"],
            ["--phantom.seed", "1"],
            ["--resources.cpus-per-worker", "2"],
        ],
        ids=" ".join,
    )
    def test_identity_ignores_what_does_not(self, flags: list[str]) -> None:
        assert self.identify(*flags) == self.identify()

    def test_gradcam_has_an_area_and_no_samples(self) -> None:
        gradcam = ("--method", "gradcam")
        assert self.identify(*gradcam, "--area", "0.5") != self.identify(*gradcam)
        assert self.identify(*gradcam, "--lime.samples", "7") == self.identify(*gradcam)

    def test_data_come_first_and_paths_become_absolute(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        config = parse_explain(["images", "--checkpoint", "m.safetensors"])
        assert config.data == str(tmp_path / "images")
        assert config.checkpoint == str(tmp_path / "m.safetensors")

    def test_help(self, capfd: pytest.CaptureFixture[str]) -> None:
        assert main(["explain", "--help"]) == 0
        printed = capfd.readouterr().out
        for flag in ("--checkpoint", "--method CHOICE", "--area", "--lime-samples"):
            assert flag in printed
        for flag in ("--epochs", "--seeds", "--workers"):
            assert flag not in printed


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["/d"], "Expected an absolute --out"),
        (["knees", "--out", "/shared/out"], "Expected an absolute --data"),
        (["--out", "/shared/out", "--checkpoint", "a"], "Expected an absolute --checkpoint"),
        (["--out", "/shared/out"], "Expected --checkpoint FILE"),
        (["--out", "/shared/out", "--methods", "lime"], "--method"),
    ],
    ids=" ".join,
)
def test_job_refuses_what_it_cannot_use(
    flags: list[str], expected: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_entrypoint("explain", flags) == 2
    assert expected in capfd.readouterr().err
