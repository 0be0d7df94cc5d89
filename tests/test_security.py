"""Files that someone else made: none of them may run code, lead out of a folder, or leak a key.

Each attack is real: where a library would fall for it, the test shows that first.
"""

import ast
import os
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from pydantic import ValidationError

import osteo_ray
from osteo_ray.base.errors import InputError
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import (
    MASKS,
    SCHEMA_VERSION,
    list_parts,
    read_parts,
    read_rows,
    read_table,
    scan_table,
)
from osteo_ray.commands.compare import parse_compare
from osteo_ray.commands.main import main
from osteo_ray.config.build import build_config, read_yaml
from osteo_ray.config.compare import CompareConfig
from osteo_ray.config.problems import describe_problems
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.sources.kinds import open_source
from osteo_ray.experiment.dataset import read_dataset, read_pixels
from osteo_ray.pipeline.export.forms import Content, write_content
from osteo_ray.pipeline.export.read_back import read_export
from osteo_ray.report.audit_page import write_audit_page
from osteo_ray.report.templates import open_template

PACKAGE = Path(osteo_ray.__file__).parent


class Bomb:
    """An object whose pickle makes a folder when it is opened."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Path of a folder that is there once a bomb went off."""
    return tmp_path / "went-off"


class TestWeights:
    @pytest.mark.parametrize("name", ["a.safetensors", "a.pt", "pytorch_model.bin"])
    def test_pickled_weights_are_refused(self, name: str, tmp_path: Path, trace: Path) -> None:
        from osteo_ray.models.weights_files import read_weights

        torch.save({"x": Bomb(trace)}, tmp_path / name)
        with pytest.raises(InputError, match="Expected nothing but tensors"):
            read_weights(tmp_path / name, name)
        assert not trace.exists()
        (tmp_path / name).rename(tmp_path / "pickle")  # PyTorch goes by some names
        torch.load(tmp_path / "pickle", weights_only=False)
        assert trace.exists()

    def test_pickled_checkpoint_is_refused(self, tmp_path: Path, trace: Path) -> None:
        from osteo_ray.models.checkpoint import describe_checkpoint
        from osteo_ray.models.classifier import load_classifier

        path = tmp_path / "model.safetensors"
        torch.save({"x": Bomb(trace)}, path)
        with pytest.raises(InputError, match="cannot be read as such"):
            describe_checkpoint(path)
        with pytest.raises(Exception, match=r"(?i)header"):
            load_classifier(path, "test_byobnet", n_classes=2, image_size=ImageSize.square(32))
        assert not trace.exists()

    def test_half_finished_training_of_a_foreign_run(self, tmp_path: Path, trace: Path) -> None:
        from osteo_ray.models.resumption import Resumption

        torch.save({"classifier": Bomb(trace)}, tmp_path / "training.pt")
        resumption = Resumption(tmp_path / "training.pt", interval_s=30.0)
        net: Any = torch.nn.Linear(1, 1)
        with pytest.raises(pickle.UnpicklingError, match=r"(?i)weights.only"):
            resumption.go_on(net, net, torch.device("cpu"))
        assert not trace.exists()

    @pytest.mark.parametrize("name", ["local-dir:/evil", "hf-hub:evil/net", "../evil", "a/b"])
    def test_names_of_models_lead_nowhere_else(self, name: str) -> None:
        with pytest.raises(InputError, match="Expected models to be a timm name"):
            build_config({"models": [name], "weights": ["none"]})


def _pickled(values: list[Any]) -> pa.Array:
    from ray.data._internal.object_extensions.arrow import ArrowPythonObjectType

    stored = pa.array([pickle.dumps(value) for value in values], pa.large_binary())
    return pa.ExtensionArray.from_storage(ArrowPythonObjectType(), stored)


def _nested(values: list[Any]) -> pa.Array:
    return pa.StructArray.from_arrays([_pickled(values)], ["bytes"])


def _listed(values: list[Any]) -> pa.Array:
    return pa.ListArray.from_arrays(list(range(len(values) + 1)), _pickled(values))


def _write(file: Path, **columns: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns).replace_schema_metadata({b"osteo_ray": SCHEMA_VERSION})
    pq.write_table(table, file)


class TestTables:
    """Ray Data, once imported, makes PyArrow open pickles as it reads a Parquet file."""

    @pytest.fixture(autouse=True)
    def _ray_data(self) -> None:
        import ray.data  # noqa: F401

    @pytest.fixture(params=[_pickled, _nested, _listed])
    def bombs(self, request: pytest.FixtureRequest, trace: Path) -> pa.Array:
        return request.param([Bomb(trace), Bomb(trace)])

    def test_the_attack_is_real(self, bombs: pa.Array, tmp_path: Path, trace: Path) -> None:
        _write(tmp_path / "a.parquet", image_id=bombs)
        with pytest.raises(FileExistsError):  # the second goes off, too
            pq.read_table(tmp_path / "a.parquet").to_pylist()
        assert trace.exists()

    @pytest.mark.parametrize(
        "read",
        [
            lambda path: read_table(path).to_pandas(),
            lambda path: scan_table(path).to_pylist(),
            lambda path: scan_table(path.parent).to_pylist(),
            lambda path: read_parts(path.parent, MASKS).to_pylist(),
            lambda path: read_rows(list_parts(path.parent)[0], 0, 2),
        ],
        ids=["table", "scan", "scan of a folder", "parts", "rows"],
    )
    def test_tables_of_a_foreign_run_run_no_code(
        self, read: Callable[[Path], Any], bombs: pa.Array, tmp_path: Path, trace: Path
    ) -> None:
        _write(tmp_path / "run" / "a.parquet", image_id=bombs)
        with pytest.raises(InputError, match=r"Expected plain columns in .*`image_id`"):
            read(tmp_path / "run" / "a.parquet")
        assert not trace.exists()

    def test_foreign_manifest_runs_no_code(
        self, bombs: pa.Array, tmp_path: Path, trace: Path
    ) -> None:
        _write(tmp_path / "a.parquet", path=pa.array(["a.png", "b.png"]), label=bombs)
        with pytest.raises(InputError, match=r"Expected plain columns in .*`label`"):
            open_source(str(tmp_path / "a.parquet"))
        assert not trace.exists()

    def test_foreign_table_of_images_runs_no_code(self, tmp_path: Path, trace: Path) -> None:
        _write(
            tmp_path / "a.parquet",
            image=_nested([Bomb(trace), Bomb(trace)]),
            label=pa.array(["x", "y"]),
        )
        with pytest.raises(InputError, match=r"Expected plain columns in .*`image`"):
            open_source(str(tmp_path / "a.parquet"))
        assert not trace.exists()

    def test_image_changed_into_a_pickle_later_runs_no_code(
        self, tmp_path: Path, trace: Path
    ) -> None:
        from osteo_ray.data.sources.readers import TableReader

        _write(tmp_path / "a.parquet", image=_nested([Bomb(trace)]))
        with pytest.raises(InputError, match="Expected plain columns"):
            TableReader(str(tmp_path / "a.parquet"), "image", (0,)).read("row-0000000", 0)
        assert not trace.exists()

    def test_foreign_export_runs_no_code(self, tmp_path: Path, trace: Path) -> None:
        text = pa.array(["x"])
        picture = _nested([Bomb(trace)])
        _write(
            tmp_path / "data" / "train-00000-of-00001.parquet",
            **{"image": picture, "label": text, "split": text, "image_id": text, "mask": picture},
        )
        with pytest.raises(InputError, match="Expected plain columns"):
            read_export(tmp_path)
        assert not trace.exists()

    def test_plain_tables_pass(self, tmp_path: Path) -> None:
        words = pa.array(["x", "x"]).dictionary_encode()
        _write(tmp_path / "a.parquet", a=words, b=[[1.0], [2.0]], c=[{"d": b"1"}, {"d": b"2"}])
        assert read_table(tmp_path / "a.parquet").num_rows == 2


def test_archives_of_objects_are_refused(tmp_path: Path, trace: Path) -> None:
    objects = np.array([Bomb(trace), Bomb(trace)], object)
    np.savez(tmp_path / "a.npz", train_images=np.zeros((2, 4, 4)), train_labels=objects)
    with pytest.raises(InputError, match="Expected an NPZ archive of plain arrays"):
        open_source(str(tmp_path / "a.npz"))
    names = [f"{part}_ids" for part in ("train", "val", "test")]
    np.savez(tmp_path / "data.npz", **dict.fromkeys(names, objects))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        read_export(tmp_path)
    assert not trace.exists()


def test_yaml_makes_no_objects(tmp_path: Path, trace: Path) -> None:
    text = f"data: !!python/object/apply:os.mkdir [{trace}]\n"
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(InputError, match="Expected YAML"):
        read_yaml(tmp_path / "config.yaml")
    assert not trace.exists()
    yaml.unsafe_load(text)
    assert trace.exists()


HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7 * 7 }}"


def test_audit_page_shows_names_as_text(tmp_path: Path) -> None:
    audit = {
        "n_images": 2, "n_rejects": 1, "classes": {HOSTILE: 2}, "n_groups": 1,
        "n_radiographs": 1, "n_patients": 0, "reject_reasons": {HOSTILE: 1},
        "copies": [[HOSTILE, "b.png"]], "conflicts": [[HOSTILE, "b.png"]], "set_aside": 0,
        "findings": [HOSTILE], "reading": [HOSTILE], "patients_guessed": True,
        "blank": [HOSTILE], "shortcuts": [], "remarks": {HOSTILE: 1}, "attributes": [],
        "films_of_both_knees": [HOSTILE], "films_cut": 0,
        "pairs": [{"first": HOSTILE, "second": "b.png", "likeness": 0.97, "mirrored": False,
                   "change": HOSTILE, "exact": False}],
    }  # fmt: skip
    picture = np.zeros((4, 4), np.uint8)
    write_audit_page(
        tmp_path / "audit.html",
        HOSTILE,
        audit,
        audit["pairs"],  # type: ignore[arg-type]
        {HOSTILE: picture, "b.png": picture},
        {HOSTILE: HOSTILE, "b.png": "b"},
    )
    page = (tmp_path / "audit.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "{{ 7 * 7 }}" in page  # and not 49


def test_every_page_is_escaped() -> None:
    """tests/test_report.py has hostile names in the report; here: no template opts out."""
    for path in (PACKAGE / "report").glob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\|\s*safe\b|autoescape|\bMarkup\b", text), path
    source = (PACKAGE / "report" / "templates.py").read_text(encoding="utf-8")
    assert "autoescape=True" in source


class TestPaths:
    @pytest.fixture
    def run(self, tmp_path: Path) -> Run:
        run = Run(tmp_path / "run")
        self.write(run)
        return run

    def write(self, run: Run, image_id: str = "a", split: str = "test") -> None:
        text = {name: pa.array(["x"]) for name in ("label", "digest")}
        _write(run.images, image_id=pa.array([image_id]), group=pa.array([0]), **text)
        _write(
            run.splits, seed=pa.array([0]), image_id=pa.array([image_id]), split=pa.array([split])
        )

    def test_plain_names_pass(self, run: Run) -> None:
        assert read_dataset(run, build_config({"seeds": 1})).splits[0].tolist() == ["test"]

    @pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..", "a\\b", "a\nb", ""])
    def test_names_of_a_foreign_run_stay_within(self, name: str, run: Run) -> None:
        config = build_config({"seeds": 1})
        self.write(run, image_id=name)
        with pytest.raises(InputError, match="that can name files"):
            read_dataset(run, config)
        self.write(run, split=name)
        with pytest.raises(InputError, match="that can name files"):
            read_dataset(run, config)

    def test_the_attack_is_real(self, tmp_path: Path) -> None:
        row = {
            "label": "x", "split": "test", "patient_id": "1", "image_id": "../../../escaped",
            "source_path": "a", "source_digest": "b", "error": None,
        }  # fmt: skip
        out = tmp_path / "out"
        out.mkdir()
        images = np.zeros((1, 4, 4), np.uint8)
        write_content(out, Content([row], images, None, np.arange(1), ("x",)), "folder")
        assert (tmp_path / "escaped.png").exists()  # hence `read_dataset` refuses such ids

    def test_foreign_export_names_no_file_outside(self, tmp_path: Path) -> None:
        from PIL import Image

        Image.new("L", (4, 4)).save(tmp_path / "private.png")
        folder = tmp_path / "export"
        folder.mkdir()
        header = "path,label,split,image_id,mask\n"
        (folder / "manifest.csv").write_text(header + "../private.png,x,test,a,\n")
        with pytest.raises(InputError, match="leads out of it"):
            read_export(folder)
        (folder / "link.png").symlink_to(tmp_path / "private.png")
        (folder / "manifest.csv").write_text(header + "link.png,x,test,a,\n")
        with pytest.raises(InputError, match="leads out of it"):
            read_export(folder)

    @pytest.mark.parametrize("name", ["../private.png", "/etc/passwd", "s3://bucket/private.png"])
    def test_manifest_names_no_file_outside(self, name: str, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text(f"path,label\nfine.png,x\nb.png,y\n{name},y\n")
        source = open_source(str(tmp_path / "a.csv"))
        assert list(source.items["path"]) == ["b.png", "fine.png"]
        assert source.refused["reason"].str.contains("outside the folder").all()

    def test_members_of_a_frozen_models_archive_stay_within(self, tmp_path: Path) -> None:
        import shutil

        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr("../escaped.txt", "x")
            archive.writestr("model.xml", "x")
        shutil.unpack_archive(tmp_path / "a.zip", tmp_path / "frozen")
        assert (tmp_path / "frozen" / "model.xml").exists()
        assert not (tmp_path / "escaped.txt").exists()

    def test_frozen_model_of_a_foreign_run_is_held_to_the_classifier(self, tmp_path: Path) -> None:
        from osteo_ray.models.classifier import build_classifier
        from osteo_ray.models.forward import (
            FrozenClassifier,
            _check_equal,
            freeze_classifier,
        )

        nets = [
            build_classifier(
                "test_byobnet",
                n_classes=2,
                image_size=ImageSize.square(32),
                weights="none",
                seed=seed,
            )
            for seed in (0, 1)
        ]
        freeze_classifier(nets[1].eval(), ImageSize.square(32), tmp_path / "frozen")

        def predict(images: torch.Tensor) -> torch.Tensor:
            with torch.inference_mode():
                return nets[0].eval()(images)  # type: ignore[no-any-return]

        with pytest.raises(RuntimeError, match="Expected the frozen classifier to give"):
            _check_equal(FrozenClassifier(tmp_path / "frozen", 1), predict, ImageSize.square(32))


KEYS = (
    "s3://AKIAEXAMPLE:hunter2@bucket/knees",  # pragma: allowlist secret
    "s3://AKIAEXAMPLE:9/hunter2@bucket/knees",  # pragma: allowlist secret
    "s3://AKIAEXAMPLE:hunter2/9@bucket/knees",  # pragma: allowlist secret
    "https://me:hunter2@host/knees.csv",  # pragma: allowlist secret
    "sftp://me:hunter2&1@host/knees.csv",  # pragma: allowlist secret
    "https://hunter2@host/knees.csv",
    "https://host/knees.csv?X-Amz-Signature=hunter2",
    "https://host/knees.csv?download=1&api_key=hunter2",
    "https://host/knees.csv?key=hunter2",
    "https://host/knees.csv#token=hunter2",
    "HTTPS://host/knees.csv?%73ig=hunter2",
    "abfs://bucket/knees?account_key=hunter2",
)


class TestSecrets:
    @pytest.mark.parametrize("uri", KEYS)
    @pytest.mark.parametrize("flag", ["--data", "--out", "--weights"])
    def test_addresses_with_keys_are_refused_and_not_shown(
        self, flag: str, uri: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        value = f"efficientnet_b0={uri}" if flag == "--weights" else uri
        flags = ["--out", "/shared/run"] if flag != "--out" else []
        data = ["--data", "/shared/knees"] if flag != "--data" else []
        assert main(["submit", "compare", *flags, *data, flag, value]) == 2
        printed = "".join(capfd.readouterr())
        assert "hunter2" not in printed
        assert "Traceback" not in printed

    @pytest.mark.parametrize("uri", KEYS)
    @pytest.mark.parametrize("command", ["report", "verify", "card", "judge", "init"])
    def test_commands_without_settings_refuse_them_as_well(
        self, command: str, uri: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        out = ["--out", str(tmp_path / "out")] if command in ("judge", "init") else []
        assert main([command, uri, *out]) == 2
        printed = "".join(capfd.readouterr())
        assert "address without keys" in " ".join(printed.split())
        assert "hunter2" not in printed

    @pytest.mark.parametrize("uri", KEYS)
    @pytest.mark.parametrize(
        "settings",
        [
            "data: URI",
            "out: URI",
            "root: URI",
            "regions: URI",
            "test_data: URI",
            "mlflow: URI",
            "weights: {efficientnet_b0: URI}",
            "weights: [efficientnet_b0=URI]",
            "networks: [URI]",
            "models: [URI]",  # no address belongs here and below
            "seeds: URI",
            "image_size: [URI]",
            "lime: {fill: URI}",
            "{demo: gain, data: URI}",
            "{data: URI, data: URI}",
            "data: {URI",
        ],
    )
    def test_keys_in_a_file_of_settings_are_not_shown(
        self, settings: str, uri: str, tmp_path: Path
    ) -> None:
        file = tmp_path / "settings.yaml"
        file.write_text(settings.replace("URI", f'"{uri}"'))
        with pytest.raises(InputError) as error:
            parse_compare(["--config", str(file)])
        assert "hunter2" not in str(error.value)

    @pytest.mark.parametrize("name", ["data", "root", "regions", "test_data", "out"])
    def test_validated_alone_a_setting_does_not_show_them(self, name: str) -> None:
        with pytest.raises(ValidationError) as error:
            CompareConfig.model_validate({name: "https://hunter2@host/x"})
        assert "hunter2" not in describe_problems(error.value)

    @pytest.mark.parametrize(
        "uri",
        [
            "s3://bucket/knees?endpoint_override=localhost:9000&scheme=http&region=eu-west-1",
            "s3://bucket/secret=1&token=2/key#3/knees",
            "https://host:8443/knees.csv?download=1",
            "http://[::1]:8000/knees.csv",
            "gs://anonymous@bucket/knees",
            "abfs://container@account.dfs.core.windows.net/knees",
        ],
    )
    def test_addresses_without_keys_pass(self, uri: str) -> None:
        assert build_config({"data": uri}).data == uri


def _list_calls() -> list[tuple[str, str, ast.Call]]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                found.append((str(path.relative_to(PACKAGE)), name, node))
    return found


def _holds(call: ast.Call, keyword: str, value: bool) -> bool:
    return any(
        each.arg == keyword and isinstance(each.value, ast.Constant) and each.value.value is value
        for each in call.keywords
    )


def test_nothing_in_the_package_opens_pickles_or_shells() -> None:
    calls = _list_calls()
    assert any(name == "torch.load" for _, name, _ in calls)  # the reader sees what is there
    assert any(name == "np.load" for _, name, _ in calls)
    forbidden = re.compile(
        r"^(c?pickle|cloudpickle|dill|joblib|shelve|marshal)\b|^(eval|exec|compile)$|\.restore$"
        r"|^(os\.system|os\.popen|yaml\.(load|unsafe_load|full_load))$|read_pickle$|from_pickle"
        r"|runpy|^torch\.jit\.load|^torch\.hub|^yaml\.load_all"
    )
    for place, name, call in calls:
        assert not forbidden.search(name), (place, name)
        assert not _holds(call, "shell", True), (place, name)
        if name == "torch.load":
            assert _holds(call, "weights_only", True), place
        if name == "np.load":
            assert _holds(call, "allow_pickle", False), place


def test_pixels_of_a_foreign_run_run_no_code(tmp_path: Path, trace: Path) -> None:
    import ray.data  # noqa: F401

    run = Run(tmp_path / "run")
    _write(
        run.pixels / "a.parquet",
        image_id=pa.array(["a"]),
        digest=pa.array(["b"]),
        pixels=_pickled([Bomb(trace)]),
    )
    with pytest.raises(InputError, match=r"Expected plain columns in .*`pixels`"):
        read_pixels(run, ["a"], ImageSize.square(2))
    assert not trace.exists()


@pytest.mark.parametrize(
    ("words", "page"),
    [
        ("the `maker` tells <all>", "The <code>maker</code> tells &lt;all&gt;"),
        ("read from `<b>`", "Read from <code>&lt;b&gt;</code>"),
        ("a ` alone", "A ` alone"),
        ("", ""),
    ],
)
def test_words_of_pages_are_marked_up_and_what_they_quote_is_not(words: str, page: str) -> None:
    template = open_template("audit.html").environment.from_string("{{ words | sentence }}")
    assert template.render(words=words) == page
