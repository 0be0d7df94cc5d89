"""What commands print, and how numbers are written there and on pages."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from osteo_ray.base.digests import seal_folder
from osteo_ray.base.formatting import (
    format_difference,
    format_duration,
    format_interval,
    format_level,
    format_p,
    format_percent,
    format_points,
    format_score,
)
from osteo_ray.commands.protocols_tables import show_protocols
from osteo_ray.commands.terminal import print_table, say, tell_failures
from osteo_ray.commands.variance_tables import show_variance
from osteo_ray.experiment.protocol_gains import ProtocolGain

MINUS = "\N{MINUS SIGN}"


def print_on(width: int, *arguments, **options) -> list[str]:
    text = io.StringIO()
    print_table(Console(file=text, width=width), *arguments, **options)
    return [line.rstrip() for line in text.getvalue().splitlines()]


def test_numbers_are_written_alike_everywhere() -> None:
    assert [format_score(value) for value in (0.25, -0.1, None, np.nan, np.inf)] == [
        *("0.250", f"{MINUS}0.100", "–", "–", "–"),
    ]
    assert [format_difference(value) for value in (0.0312, -0.0213, -0.0001, 0, None)] == [
        *("+0.031", f"{MINUS}0.021", "0.000", "0.000", "–"),
    ]
    assert [format_points(value) for value in (0.021, -0.3, 0, None)] == [
        *("+2.1", f"{MINUS}30.0", "0.0", "–"),
    ]
    assert [format_p(value) for value in (0.0123, 1e-9, 0.001, None)] == [
        *("0.012", "< 0.001", "0.001", "–"),
    ]
    assert [format_percent(value) for value in (0.3333, -0.1, None)] == [
        "33 %",
        f"{MINUS}10 %",
        "–",
    ]
    assert format_percent(0.775, 1) == "77.5 %"
    assert format_interval(-0.3, 0.2575) == f"{MINUS}0.300 … +0.258"
    assert format_interval(0.1, 0.5, format_percent) == "10 % … 50 %"
    assert format_interval(None, None) == "–"
    assert [format_duration(value) for value in (3725, 62.4, 4.21)] == [
        *("1 h 2 min", "1 min 2 s", "4.2 s"),
    ]


@pytest.mark.parametrize(
    ("alpha", "level"),
    [(0.05, "95 %"), (0.1, "90 %"), (0.005, "99.5 %"), (0.01234, "98.8 %"), (1e-7, "99.99999 %")],
)
def test_level_of_an_interval_follows_from_the_error_rate(alpha: float, level: str) -> None:
    assert format_level(alpha) == level


def test_table_of_figures_is_never_cut() -> None:
    headings = ("arm", "mean", "95 % interval", "p")
    row = ("random_mask of a long name", f"{MINUS}0.021", "−0.300 … +0.258", "< 0.001")
    wide, narrow = (print_on(width, headings, [row]) for width in (200, 20))
    for lines in (wide, narrow):
        assert any(row[0] in line and line.endswith("< 0.001") for line in lines)
    assert any("95 % interval" in line for line in wide)


def test_headings_break_before_lines_run_over() -> None:
    headings = ("actors", "times as fast as the first", "seconds in all")
    lines = print_on(30, headings, [(1, "1.00", "9.9"), (2, "2.00", "5.0")])
    assert max(map(len, lines)) <= 30
    assert any(line.split() == ["2", "2.00", "5.0"] for line in lines)


def test_prose_is_wrapped_between_words() -> None:
    words = "real gain 39, inconclusive 1, equivalent 3"
    lines = print_on(40, ("world", "n", "verdicts"), [("apart", 40, words)], prose=(2,))
    assert max(map(len, lines)) <= 40
    assert " ".join(" ".join(lines).split()).endswith("apart 40 " + words)


def test_text_is_shown_as_it_is() -> None:
    lines = print_on(80, ("[b]arm[/b]", "n"), [("[red]lime", 1), (), ("–", 2)], title="[i]of[/i]")
    text = "\n".join(lines)
    assert lines[0] == "[i]of[/i]"
    assert "[b]arm[/b]" in text
    assert "[red]lime" in text
    first, second = (lines.index(line) for line in lines if line.endswith(("1", "2")))
    assert second - first == 2  # a blank line between them


def test_table_without_headings_has_no_header_and_without_rows_is_not_printed() -> None:
    assert [line.split() for line in print_on(80, ("", ""), {"images": 3}.items()) if line] == [
        ["images", "3"]
    ]
    assert print_on(80, ("a", "b"), [], title="None of them") == []


def test_sentences_are_not_broken() -> None:
    text = io.StringIO()
    path = "/tmp/" + "long/" * 30 + "[bold]"
    say(Console(file=text, width=40), f"Report: {path}")
    assert text.getvalue() == f"Report: {path}\n"


def test_names_that_are_no_text_are_printed_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "a.parquet").write_bytes(b"1")
    seal_folder(tmp_path / "masks")
    Path(os.fsdecode(os.fsencode(tmp_path / "masks") + b"/kn\xe9e.parquet")).write_bytes(b"x")
    words = [sys.executable, "-m", "osteo_ray.commands.main", "verify", str(tmp_path)]
    said = subprocess.run(words, capture_output=True, check=False)
    assert said.returncode == 3
    assert b"kn\\udce9e.parquet" in said.stdout + said.stderr
    plain = os.environ | {"PYTHONIOENCODING": "latin-1"}
    told = subprocess.run([*words, "--json"], capture_output=True, check=False, env=plain)
    assert told.returncode == 3
    (found,) = json.loads(told.stdout)["findings"]
    assert found == {"file": "masks/kn\udce9e.parquet", "state": "foreign"}


def test_failures_are_named_and_counted() -> None:
    text = io.StringIO()
    captured = SimpleNamespace(err=Console(file=text, width=80))
    assert tell_failures([], captured) == 0
    assert text.getvalue() == ""
    failure = SimpleNamespace(trial="a/seed-0/lime", reason="[died]")
    assert tell_failures([failure], captured, "run/driver.log") == 1
    assert text.getvalue() == (
        "Failed: a/seed-0/lime: [died]\n"
        "1 training is missing. Run the same command again to retry. Details: run/driver.log\n"
    )
    tell_failures([failure, failure], captured)
    assert text.getvalue().endswith(
        "2 trainings are missing. Run the same command again to retry.\n"
    )


def test_protocols_are_shown_at_their_level() -> None:
    text = io.StringIO()
    gains = [
        ProtocolGain("net", "lime", 0.01, 0.05, 0.04, -0.01, 0.09, 0.0004),
        ProtocolGain("net", "gradcam", None, 0.05),
    ]
    show_protocols(Console(file=text, width=100), gains, alpha=0.1)
    lines = [" ".join(line.split()) for line in text.getvalue().splitlines()]
    assert "model, arm clean paper's difference 90 % interval p" in lines
    assert f"net, lime +0.010 +0.050 +0.040 {MINUS}0.010 … +0.090 < 0.001" in lines
    assert "net, gradcam – +0.050 – – –" in lines


def test_variance_is_shown_by_source() -> None:
    text = io.StringIO()
    source = {"source": "split", "sd": 0.01234, "share": 0.5, "low": 0.1, "high": None, "n_runs": 9}
    entry = {"model": "net", "result": "accuracy", "mean": 0.75, "sources": [source]}
    show_variance(Console(file=text, width=100), [entry])
    lines = [" ".join(line.split()) for line in text.getvalue().splitlines()]
    assert lines[0] == "net, accuracy: mean 0.750"
    assert "split 0.0123 50 % 10 % … – 9" in lines
