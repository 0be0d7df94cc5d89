"""The examples of the documentation run as they stand and print what they say."""

import inspect
import pkgutil
import re
from pathlib import Path

import pytest

from osteo_ray.base.networks import is_network_name
from osteo_ray.base.tables import read_json
from osteo_ray.commands.compare import parse_compare
from osteo_ray.commands.main import main
from osteo_ray.config.network_files import separate_files
from osteo_ray.data.image_size import ImageSize
from osteo_ray.experiment import rule
from osteo_ray.models.classifier import build_classifier
from osteo_ray.models.own_code import choose_options
from osteo_ray.pipeline.compare.network_code import read_networks
from osteo_ray.statistics.metrics.documentation import tabulate_endpoints, tabulate_refused
from osteo_ray.statistics.metrics.registry import METRICS

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "data.md"
EXAMPLE = re.compile(
    r"### ([^\n]+)\n(?:(?!\n### ).)*?```python\n(.*?)```\n\n```text\n(.*?)```", re.S
)
EXAMPLES = EXAMPLE.findall(PAGE.read_text(encoding="utf-8"))


def test_every_example_is_found_and_names_a_command() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert len(EXAMPLES) == text.count("```python") == text.count("\n### ") == 10
    assert text.count("```bash\nosteo-ray compare --data ") == 10


@pytest.mark.parametrize(
    ("code", "printed"), [pytest.param(code, text, id=name) for name, code, text in EXAMPLES]
)
def test_example(
    code: str,
    printed: str,
    s3_server: str,
    s3_keys: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("S3_ENDPOINT", s3_server)
    capsys.readouterr()
    exec(compile(code, str(PAGE), "exec"), {"__name__": "example"})
    lines = capsys.readouterr().out.splitlines()
    assert [line.rstrip() for line in lines] == printed.splitlines()


def test_no_page_holds_the_marks_of_an_unfinished_merge() -> None:
    pages = [*DOCS.glob("*.md"), *DOCS.parent.glob("*.md")]
    assert {"README.md", "CHANGELOG.md", "arms.md"} <= {page.name for page in pages}
    marks = re.compile(r"^(<{7}|={7}|>{7})( |$)", re.M)
    assert [page.name for page in pages if marks.search(page.read_text(encoding="utf-8"))] == []


def find_blocks(page: str, form: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"```{form}\n(.*?)```", text, re.S)


# docs/networks.md


def test_networks_of_ones_own_are_built_and_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = find_blocks("networks.md", "python")
    for code, name in ((first, "net.py:make"), (second, "net.py:make_gray")):
        classifier = build_classifier(
            name, n_classes=3, image_size=ImageSize.square(64), weights="none", seed=0, code=code
        )
        assert classifier.n_classes == classifier.head[-1].out_features == 3
        assert classifier.has_feature_map
    assert classifier.mean.flatten().tolist() == [0.5]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(first, encoding="utf-8")
    (command,) = find_blocks("networks.md", "bash")
    config = parse_compare(command.split()[2:])
    assert read_networks(config) == {"net.py:make": first}


def test_forms_and_arguments_of_networks_are_those_that_there_are() -> None:
    text = (DOCS / "networks.md").read_text(encoding="utf-8")
    names = re.findall(r"^\| `([^`]+)` \| (?:a name|a class|the func)", text, re.M)
    assert [bool(separate_files([name], [])[0]) for name in names] == [True] * 3
    assert all(is_network_name(separate_files([name], [])[0][0]) for name in names)
    offered = inspect.getsource(choose_options)
    for argument in ("n_classes", "image_size", "pretrained"):
        assert re.search(rf"^\| `{argument}`", text, re.M)
        assert f'"{argument}": {argument}' in offered


def test_names_in_the_package_are_those_that_there_are() -> None:
    found = {
        name
        for page in [*DOCS.glob("*.md"), DOCS.parent / "README.md"]
        for name in re.findall(r"`(osteo_ray(?:\.\w+)+)", page.read_text(encoding="utf-8"))
    }
    assert {"osteo_ray.open_run", "osteo_ray.pipeline.export.read_back.read_export"} <= found
    for name in found:
        pkgutil.resolve_name(name)


# docs/judge.md


def test_table_of_judge_is_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (table,) = find_blocks("judge.md", "csv")
    assert len(table.splitlines()) == 10
    (tmp_path / "t.csv").write_text(table, encoding="utf-8")
    code = main(["judge", str(tmp_path / "t.csv"), "--out", str(tmp_path / "out")])
    assert code == 0, capsys.readouterr()
    comparison = read_json(tmp_path / "out" / "comparison.json")
    assert (comparison["judged"], comparison["baseline"]) == ("lime", "original")
    assert comparison["n_train"] == 1  # the last row


def test_example_of_judge_prints_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,), (printed,) = find_blocks("judge.md", "python"), find_blocks("judge.md", "text")
    command = find_blocks("judge.md", "bash")[-1].split()
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "judge.md", "exec"), {"__name__": "example"})
    capsys.readouterr()
    assert command[0] == "osteo-ray"
    assert main(command[1:]) == 0
    found = capsys.readouterr().out.replace(f"{tmp_path}/", "")
    assert found.endswith(printed)


def test_every_option_of_judge_is_described(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["judge", "--help"]) == 0
    flags = set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out)) - {"--help"}
    text = (DOCS / "judge.md").read_text(encoding="utf-8")
    assert len(flags) >= 10
    assert {flag for flag in flags if f"`{flag}" not in text and f"{flag} " not in text} == set()


# docs/verdict.md


def test_margins_and_refused_metrics_are_those_of_the_registry() -> None:
    text = (DOCS / "verdict.md").read_text(encoding="utf-8")
    how = "run `python -m osteo_ray.statistics.metrics.documentation`"
    for table in (tabulate_endpoints(), tabulate_refused()):
        assert f"\n\n{table}\n\n" in text, how
    rows = (tabulate_endpoints() + tabulate_refused()).count("\n| `")
    assert rows == len(METRICS)  # each metric is in one of them
    assert "| `brier` | Brier score, lower is better | 10 % of the baseline's | no |" in text
    assert "| `recall` | it rewards a classifier that calls everything positive | sensi" in text


def test_questions_are_those_of_the_rule_in_its_order() -> None:
    text = (DOCS / "verdict.md").read_text(encoding="utf-8")
    assert rule.__doc__ is not None
    asked = re.findall(r"^(\d+)\. (.*?)(?=^\d+\.|^$)", rule.__doc__, re.S | re.M)
    rows = re.findall(r"^\| (\d+) \| (.*?) \| (.*?) \|$", text, re.M)
    assert [number for number, _ in asked] == [number for number, *_ in rows]
    assert len(rows) == 13
    for (number, question), (_, _, answer) in zip(asked, rows, strict=True):
        verdicts = set(re.findall(r"\*\*(.*?)\*\*", question))
        if number == "10":  # the page lists what controls stand for
            assert verdicts == {"what the control stands for"}
        else:
            assert verdicts == set(re.findall(r"\*(.*?)\*", answer)), number
