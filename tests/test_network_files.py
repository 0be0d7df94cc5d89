"""Names and files of networks: from flags to folders, keys, workers, jobs and reproductions."""

from collections.abc import Callable
from pathlib import Path

import pytest
import ray
from tiny_runs import compute_here, configure, run_quietly, stay_quiet

from osteo_ray.base.errors import InputError
from osteo_ray.base.networks import is_network_name, is_timm_name, name_folder
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import read_table
from osteo_ray.commands.compare import parse_compare
from osteo_ray.commands.main import main
from osteo_ray.commands.submittable import check_submittable, list_networks
from osteo_ray.config.build import build_config, read_yaml
from osteo_ray.config.compare import CompareConfig
from osteo_ray.config.explain import ExplainConfig
from osteo_ray.config.reproduce import ReproduceConfig
from osteo_ray.data.image_size import ImageSize
from osteo_ray.experiment.dataset import read_dataset
from osteo_ray.experiment.trials import Experiment, Trial, describe_experiment
from osteo_ray.models.checkpoint import describe_checkpoint
from osteo_ray.models.settings import TrainingSettings
from osteo_ray.pipeline.compare.model_check import check_models
from osteo_ray.pipeline.compare.network_code import has_networks, read_networks, store_networks
from osteo_ray.pipeline.explain.explain_set import explain_set
from osteo_ray.pipeline.reproduce.rerun import reproduce
from osteo_ray.pipeline.submit.packing import Networks, check_as_packed, pack_networks
from osteo_ray.report.reproductions_page import write_reproductions_page

NET = """
from torch import nn


def make(n_classes):
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, n_classes),
    )
"""


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """The file of a network, in a folder of its own."""
    file = tmp_path / "nets" / "net.py"
    file.parent.mkdir()
    file.write_text(NET)
    return file


def build(net: Path, **changes: object) -> CompareConfig:
    return build_config({"data": "/d", "models": [f"{net}:make"], "weights": "none", **changes})


# Names


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("efficientnet_b0", "efficientnet_b0"),
        ("resnet50.a1_in1k", "resnet50.a1_in1k"),
        ("torchvision:vgg11", "torchvision-vgg11"),
        ("my-net_2.py:make", "my-net_2.py-make"),
    ],
)
def test_names_make_folders_that_any_system_takes(name: str, folder: str) -> None:
    assert is_network_name(name)
    assert name_folder(name) == folder
    assert is_timm_name(name) == (":" not in name)


@pytest.mark.parametrize(
    "name",
    [
        *("", "a b", "hf-hub:a", "local-dir:a", "torchvision:", "torchvision:a/b", "../x", ":make"),
        *("net.py:", "net.py:2", "net.py:a.b", "net.py:a-b", ".net.py:make", "a/net.py:make"),
    ],
)
def test_names_of_no_network(name: str) -> None:
    assert not is_network_name(name)


def test_folder_of_a_file_is_no_part_of_the_name(
    net: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(net.parent.parent)
    written = [f"{net}:make", "nets/net.py:make", "./nets/../nets/net.py:make"]
    for models in written:
        config = build_config({"data": "/d", "models": models})
        assert config.models == ("net.py:make",)
        assert config.networks == (str(net),)
        assert config.network_files == {"net.py:make": str(net)}
    monkeypatch.chdir(net.parent)
    assert build_config({"data": "/d", "models": ["net.py:make"]}).networks == (str(net),)


def test_networks_flag_tells_where_a_file_lies(net: Path) -> None:
    flags = ["--data", "/d", "--models", "net.py:make", "resnet18", "--networks", str(net)]
    config = parse_compare(flags)
    assert config.models == ("net.py:make", "resnet18")
    assert config.network_files == {"net.py:make": str(net)}
    assert config.first_weights == {"net.py:make": None, "resnet18": None}


def test_folder_in_models_counts_more_than_that_of_a_file(net: Path, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(f"data: /d\nmodels: ['{net}:make']\n")
    other = tmp_path / "net.py"
    assert parse_compare(["--config", str(file)]).networks == (str(net),)
    config = parse_compare(["--config", str(file), "--models", f"{other}:make"])
    assert config.networks == (str(other),)
    assert parse_compare(["--config", str(file), "--models", "resnet18"]).networks == ()


def test_weights_belong_to_the_name(net: Path) -> None:
    for name in ("net.py:make", f"{net}:make"):
        assert build(net, weights=[f"{name}=/w.pt"]).weights_of("net.py:make") == "/w.pt"
    config = build_config(
        {"data": "/d", "models": ["torchvision:vgg11"], "weights": ["torchvision:vgg11=/w.pt"]}
    )
    assert config.weights_of("torchvision:vgg11") == "/w.pt"


def test_two_files_of_one_name_are_refused(net: Path) -> None:
    with pytest.raises(InputError, match=r"Expected files of different names, but got .*Rename"):
        build_config({"data": "/d", "models": [f"{net}:make", "/elsewhere/net.py:other"]})
    with pytest.raises(InputError, match="Expected distinct models"):
        build_config(
            {"data": "/d", "models": [f"{net}:make", "net.py:make"], "networks": [str(net)]}
        )


def test_place_of_a_file_is_no_part_of_what_a_run_is(net: Path) -> None:
    here, there = build(net), build(Path("/elsewhere/net.py"))
    assert here.identity() == there.identity()
    assert here.plan_hash() == there.plan_hash()


# Files


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["net.py: No such file or directory", "name the file by --networks"]),
        (b"\xff\xfe", ["it is not UTF-8 text"]),
        (b"def make(:\n", ["Expected Python in", "in line 1"]),
        (b"x = 1\ndef mkae(): pass\n", ["Expected a function `make`", "Did you mean `mkae`?"]),
    ],
)
def test_unusable_files_are_refused_before_anything_starts(
    content: bytes | None, words: list[str], net: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net.unlink() if content is None else net.write_bytes(content)
    out = net.parent / "run"
    assert main(["compare", "--models", f"{net}:make", "--weights", "none", "--out", str(out)]) == 2
    said = capsys.readouterr().err
    for word in [*words, str(net)]:
        assert word in said
    assert "Traceback" not in said
    assert not out.exists()


@pytest.mark.parametrize(
    "code",
    [
        "from elsewhere import make",
        "from elsewhere import *",
        "import elsewhere as make",
        "make = 1",
        "class make: pass",
        "if True:\n    def make(): pass",
    ],
)
def test_whatever_may_define_the_function_is_let_through(code: str, net: Path) -> None:
    net.write_text(code)
    assert read_networks(build(net)) == {"net.py:make": code}


def test_file_with_a_byte_order_mark_is_read_as_python_reads_it(net: Path) -> None:
    code = net.read_text()
    net.write_bytes(b"\xef\xbb\xbf" + code.encode())
    assert read_networks(build(net)) == {"net.py:make": code}


def test_run_keeps_the_file_and_notices_another(net: Path, tmp_path: Path) -> None:
    run, codes = Run(tmp_path / "run"), read_networks(build(net))
    assert not has_networks(run, codes)
    store_networks(run, codes)
    assert (run.root / "networks" / "net.py").read_text() == NET
    assert has_networks(run, codes)
    changed = {"net.py:make": NET + "\n"}
    assert not has_networks(run, changed)
    store_networks(run, changed)
    assert has_networks(run, changed)


# Workers


def test_check_on_a_worker_knows_the_file_by_its_text_alone(local_ray: None) -> None:
    weights = {"net.py:make": "none", "net.py:wide": "none", "torchvision:resnet_18": "none"}
    wide = NET + "\ndef wide(n_classes):\n    return make(n_classes + 1)\n"
    codes = dict.fromkeys(list(weights)[:2], wide)
    problems = ray.get(
        check_models.remote(weights, ImageSize.square(32), (), TrainingSettings(), codes, (), 2)
    )
    assert len(problems) == 2
    assert "to return logits, float32 (2, 2): a row per image" in problems[0]
    assert "Did you mean `torchvision:resnet18`?" in problems[1]


@pytest.fixture(scope="module")
def finished(local_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of a network from a file, and one of torchvision; the file is gone."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "net.py").write_text(NET)
    models = [f"{folder}/net.py:make", "torchvision:squeezenet1_1"]
    with pytest.MonkeyPatch.context() as patch:
        compute_here(patch)
        config = configure(
            folder / "run", models=models, weights="none", arms=["original", "lime"], seeds=2
        )
        found = run_quietly(config).run
    (folder / "net.py").rename(folder / "moved.py")
    return found


def describe(run: Run, folder: Path) -> Experiment:
    config = configure(
        folder, models=["net.py:make"], weights="none", arms=["original", "lime"], seeds=2
    )
    return describe_experiment(run, config, read_dataset(run, config))


def test_tables_have_names_and_paths_have_folders(finished: Run) -> None:
    names = {"net.py:make", "torchvision:squeezenet1_1"}
    assert set(read_table(finished.results)["model"].to_pylist()) == names
    folders = {"net.py-make", "torchvision-squeezenet1_1"}
    for part in (finished.trials, finished.masks, finished.heatmaps, finished.faithfulness):
        assert {path.name for path in part.iterdir()} == folders


def test_configuration_of_a_run_names_the_file_that_the_run_keeps(finished: Run) -> None:
    config = build_config(read_yaml(finished.config))
    assert config.network_files == {"net.py:make": str(finished.root / "networks" / "net.py")}
    assert read_networks(config) == {"net.py:make": NET}
    assert config.out == str(finished.root)


def test_checkpoint_brings_the_code_along(finished: Run) -> None:
    (path,) = finished.trials.glob("net.py-make/seed-0/original-*/model.safetensors")
    assert describe_checkpoint(path).code == NET
    (path,) = finished.trials.glob("torchvision-*/seed-0/original-*/model.safetensors")
    assert describe_checkpoint(path).code is None


def test_edited_file_makes_new_trainings(finished: Run, tmp_path: Path) -> None:
    trial = Trial("net.py:make", 0, "lime")
    before = describe(finished, tmp_path)
    assert before.is_done(trial)
    copy = Run(tmp_path / "copy")
    for name in ("images.parquet", "splits.parquet"):
        (tmp_path / "copy").mkdir(exist_ok=True)
        (copy.root / name).write_bytes((finished.root / name).read_bytes())
    store_networks(copy, {"net.py:make": NET})
    assert describe(copy, tmp_path).key_of(trial) == before.key_of(trial)
    store_networks(copy, {"net.py:make": NET + "# another\n"})
    assert describe(copy, tmp_path).key_of(trial) != before.key_of(trial)


def test_resumed_run_trains_nothing_anew(finished: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = finished.root.parent / "elsewhere"
    moved.mkdir()
    (moved / "net.py").write_text(NET)
    before = sorted(finished.trials.rglob("model.safetensors"))
    times = [path.stat().st_mtime_ns for path in before]
    compute_here(monkeypatch)
    config = configure(
        str(finished.root),
        models=[f"{moved}/net.py:make", "torchvision:squeezenet1_1"],
        weights="none",
        arms=["original", "lime"],
        seeds=2,
    )
    run_quietly(config)
    assert sorted(finished.trials.rglob("model.safetensors")) == before
    assert [path.stat().st_mtime_ns for path in before] == times


def test_code_of_others_runs_only_if_the_user_says_so(finished: Run) -> None:
    (path,) = finished.trials.glob("net.py-make/seed-0/original-*/model.safetensors")
    with pytest.raises(InputError, match=r"Expected --run-code, .*`net\.py:make` in .*safetensors"):
        explain_set(ExplainConfig(checkpoint=str(path)), stay_quiet())
    with pytest.raises(InputError, match=r"Expected --run-code, .*`net\.py:make`, in .*networks"):
        reproduce(ReproduceConfig(run=str(finished.root)), stay_quiet(), write_reproductions_page)


def test_reproduction_is_identical_without_the_users_file(
    finished: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    compute_here(monkeypatch)
    config = ReproduceConfig(
        run=str(finished.root), run_code=True, images="stored", out=str(tmp_path / "work"), sample=4
    )
    assert reproduce(config, stay_quiet(), write_reproductions_page).entry["outcome"] == "identical"


def test_explaining_needs_the_checkpoint_alone(
    finished: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    compute_here(monkeypatch)
    (path,) = finished.trials.glob("net.py-make/seed-0/original-*/model.safetensors")
    config = ExplainConfig(
        checkpoint=str(path),
        run_code=True,
        out=str(tmp_path / "out"),
        method="gradcam",
        phantom={"n_images": 8, "size_px": 48},  # type: ignore[arg-type]
    )
    _, summary = explain_set(config, stay_quiet())
    assert summary.n_images == 8


# Jobs


Pack = Callable[[list[str]], list[str]]


@pytest.fixture
def pack(net: Path, tmp_path: Path) -> Pack:
    (tmp_path / "job").mkdir()

    def run(arguments: list[str]) -> list[str]:
        networks = Networks(*list_networks("compare", arguments))
        return pack_networks(arguments, networks, tmp_path / "job")

    return run


def test_file_travels_with_a_job(
    net: Path, pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = ["--data", "/d", "--models", "resnet18", "nets/net.py:make", "--seeds", "2"]
    packed = pack(flags)
    assert packed == [
        *("--data", "/d", "--seeds", "2", "--models", "resnet18", "net.py:make"),
        *("--networks", "networks/net.py"),
    ]
    monkeypatch.chdir(tmp_path / "job")
    config = parse_compare(packed)
    assert read_networks(config) == {"net.py:make": NET}
    assert config.models == ("resnet18", "net.py:make")


def test_file_that_only_the_configuration_names_travels_too(
    net: Path, pack: Pack, tmp_path: Path
) -> None:
    (tmp_path / "c.yaml").write_text(f"data: /d\nmodels: ['{net}:make']\n")
    packed = pack(["--config", str(tmp_path / "c.yaml")])
    assert packed[2:] == ["--models", "net.py:make", "--networks", "networks/net.py"]


def test_other_jobs_keep_their_flags(pack: Pack, tmp_path: Path) -> None:
    flags = ["--models", "resnet18", "--data", "/d"]
    assert pack(flags) == flags
    assert list((tmp_path / "job").iterdir()) == []
    assert list_networks("explain", ["--data", "/d"]) == ((), ())


def test_packed_flags_are_checked_as_the_job_will_read_them(net: Path) -> None:
    flags = ["--models", f"{net}:make", "--weights", "none", "--out", "/shared/run"]
    networks = Networks(*list_networks("compare", flags))
    found = check_as_packed(check_submittable, "compare", flags, networks)
    assert found == "/shared/run/report.html"
    net.unlink()
    with pytest.raises(InputError, match=r"net\.py: No such file.*Correct --models"):
        check_as_packed(check_submittable, "compare", flags, networks)
