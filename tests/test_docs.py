"""The examples of the documentation run as they stand and print what they say."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "data.md"
EXAMPLE = re.compile(
    r"### ([^\n]+)\n(?:(?!\n### ).)*?```python\n(.*?)```\n\n```text\n(.*?)```", re.S
)
EXAMPLES = EXAMPLE.findall(PAGE.read_text(encoding="utf-8"))


def test_every_example_is_found_and_names_a_command() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert len(EXAMPLES) == text.count("```python") == text.count("\n### ") == 9
    assert text.count("```bash\nosteo-ray compare --data ") == 9


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
