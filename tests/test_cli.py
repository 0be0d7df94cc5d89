"""What the command says and returns for bad input."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from osteo_ray.commands.main import main
from osteo_ray.data.image_size import ImageSize

COMMON = ["--models", "test_byobnet", "--weights", "none", "--image-size", "32", "--seeds", "1"]


def draw_images(folder: Path, count: int, seed: int = 0) -> None:
    """Write images of which none is a copy of another."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pixels = rng.integers(0, 256, (64, 64), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


def fail(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must end with exit code 2 and no traceback; return what it printed."""
    code = main(list(arguments))
    printed = " ".join("".join(capfd.readouterr()).replace("│", " ").split())
    assert code == 2, printed
    assert "Traceback" not in printed
    return printed


@pytest.fixture
def two_classes(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    draw_images(source / "normal", 12)
    draw_images(source / "osteoporosis", 12, seed=1)
    return source


def test_missing_folder(capfd, tmp_path: Path) -> None:
    printed = fail(capfd, "compare", "--data", str(tmp_path / "nowhere"))
    assert "Expected --data to be a folder" in printed
    assert "does not exist" in printed


def test_empty_folder(capfd, tmp_path: Path) -> None:
    assert "but found none" in fail(capfd, "compare", "--data", str(tmp_path))


def test_one_class_only(capfd, tmp_path: Path) -> None:
    draw_images(tmp_path / "source" / "normal", 3)
    printed = fail(capfd, "compare", "--data", str(tmp_path / "source"))
    assert "at least two class folders" in printed


def test_unknown_positive_class_suggests_the_nearest(capfd, two_classes: Path) -> None:
    printed = fail(capfd, "compare", "--data", str(two_classes), "--positive-class", "osteoporsis")
    assert "Did you mean `osteoporosis`?" in printed


def test_unknown_arm_and_option_suggest_the_nearest(capfd) -> None:
    assert "Did you mean `silhouette`?" in fail(capfd, "compare", "--arms", "original", "silhouete")
    assert "--lime-samples" in fail(capfd, "compare", "--lime-smaples", "5")
    assert "Did you mean `compare`?" in fail(capfd, "comapre")


def test_unknown_configuration_key_suggests_the_nearest(capfd, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("lime: {sampels: 5}\n")
    printed = fail(capfd, "compare", "--config", str(file))
    assert "Unknown configuration key `lime.sampels`. Did you mean `samples`?" in printed


def test_out_of_another_configuration(capfd, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "config.yaml").write_text("image_size: 48\n")
    printed = fail(capfd, "compare", "--out", str(out), "--image-size", "64")
    assert "image_size (there 48, here 64)" in printed
    assert sorted(path.name for path in out.iterdir()) == ["config.yaml"]


def test_out_that_is_not_a_run(capfd, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    printed = fail(capfd, "compare", "--out", str(tmp_path))
    assert "holds something else" in printed
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_report_of_no_run(capfd, tmp_path: Path) -> None:
    assert "comparison.json is missing" in fail(capfd, "report", str(tmp_path))


@pytest.mark.parametrize("path", ["~nosuchuser/x", "loop", "loop/x", "s3://[x/y", "a\0b", ""])
@pytest.mark.parametrize(
    "words",
    [
        ["report", "PATH"],
        ["figures", "PATH", "--out", "figures"],
        ["card", "PATH"],
        ["export", "PATH"],
        ["judge", "PATH", "--out", "judged"],
        ["check-table", "PATH"],
        ["init", "nothing", "--out", "PATH"],
        ["report", "run", "run", "--out", "PATH.html"],
        ["export", "run", "--out", "PATH"],
        ["compare", "--config", "PATH"],
    ],
    ids=" ".join,
)
def test_paths_that_nothing_can_have_are_bad_input(
    capfd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    printed = fail(capfd, *(word.replace("PATH", path) for word in words))
    assert "Expected" in printed


@pytest.mark.parametrize("path", ["s3://[x/y", "s3:/bucket/x", "file://home/x", "a\0b", ""])
@pytest.mark.parametrize("command", ["phantom", "verify"])
def test_addresses_that_name_nothing_are_bad_input(capfd, command: str, path: str) -> None:
    assert "Expected" in fail(capfd, command, path)


def test_phantoms_need_a_path_of_this_machine(capfd) -> None:
    assert "a path of this machine" in fail(capfd, "phantom", "s3://bucket/x")


def test_phantoms_are_not_written_over_files(capfd, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("b")
    assert "is in use" in fail(capfd, "phantom", str(tmp_path))


@pytest.mark.ray
class TestOnRay:
    """Bad input that only the cluster can notice; nothing may be written."""

    @pytest.fixture(autouse=True)
    def _nothing_written(self, local_ray: None, tmp_path: Path):
        yield
        assert not (tmp_path / "out").exists()
        assert not list(tmp_path.glob(".out*"))

    def test_too_few_images_says_how_many_are_needed(self, capfd, tmp_path: Path) -> None:
        draw_images(tmp_path / "source" / "normal", 12)
        draw_images(tmp_path / "source" / "osteoporosis", 2, seed=1)
        printed = fail(
            capfd, "compare", "--data", str(tmp_path / "source"), "--out",
            str(tmp_path / "out"), *COMMON,
        )  # fmt: skip
        assert "at least 3 images" in printed
        assert "class `osteoporosis`" in printed
        assert "found 2" in printed

    def test_no_readable_image(self, capfd, tmp_path: Path) -> None:
        for label in ("normal", "osteoporosis"):
            (tmp_path / "source" / label).mkdir(parents=True)
            (tmp_path / "source" / label / "a.png").write_text("not an image")
        printed = fail(
            capfd, "compare", "--data", str(tmp_path / "source"), "--out",
            str(tmp_path / "out"), *COMMON,
        )  # fmt: skip
        assert "none of 2 could be read" in printed
        assert "not an image" in printed

    @pytest.mark.parametrize(
        ("flags", "expected"),
        [
            (("--models", "efficientnet_bo", "--weights", "none"), "Did you mean `efficientnet_b"),
            (
                ("--models", "test_byobnet", "--weights", "test_byobnet=/nowhere.safetensors"),
                "/nowhere.safetensors does not exist",
            ),
        ],
    )
    def test_unusable_models(self, capfd, two_classes, tmp_path, flags, expected) -> None:
        printed = fail(
            capfd, "compare", "--data", str(two_classes), "--out", str(tmp_path / "out"),
            "--image-size", "32", "--seeds", "1", *flags,
        )  # fmt: skip
        assert expected in printed

    @pytest.mark.parametrize("flags", [("--workers", "3"), ("--resources.gpus-per-worker", "1")])
    def test_more_than_the_cluster_has_fails_at_once(
        self, capfd, two_classes: Path, tmp_path: Path, flags: tuple[str, str]
    ) -> None:
        printed = fail(
            capfd, "compare", "--data", str(two_classes), "--out", str(tmp_path / "out"),
            *COMMON, *flags,
        )  # fmt: skip
        assert "2 CPUs, 0 GPUs on 1 node(s)" in printed

    def test_a_damaged_file_is_rejected_with_a_reason(self, two_classes, tmp_path) -> None:
        import pandas as pd

        from osteo_ray.data.sources.kinds import open_source
        from osteo_ray.pipeline.ingest.reading import ingest_images

        (two_classes / "normal" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
        source = open_source(str(two_classes))
        ingest = ingest_images(
            source, tmp_path, pixels=tmp_path / "pixels", image_size=ImageSize.square(32)
        )
        assert ingest.rejects["path"].tolist() == ["normal/broken.png"]
        assert ingest.rejects["reason"][0] != ""
        assert len(ingest.images) == 24
        assert len(pd.read_parquet(tmp_path / "pixels")) == 24
