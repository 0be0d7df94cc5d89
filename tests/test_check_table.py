"""`osteo-ray check-table`: the paper's table, the file format, what is refused."""

import re
from pathlib import Path

import pytest

from osteo_ray.check_table.matrices import check_row
from osteo_ray.check_table.published import N_NEGATIVE, N_POSITIVE, PUBLISHED, list_printed_rows
from osteo_ray.check_table.table_check import check_table, find_mixed_rounding, list_inconsistencies
from osteo_ray.commands.main import main

PAGE = Path(__file__).parents[1] / "docs" / "check-table.md"
HEADER = "model,data_set,accuracy,n_positive,n_negative\n"


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Check a table; return the exit code and what was printed, as one line."""
    monkeypatch.setenv("COLUMNS", "200")

    def check(text: str | bytes | None, *flags: str) -> tuple[int, str]:
        if text is not None:
            file = tmp_path / "table.csv"
            file.write_bytes(text if isinstance(text, bytes) else text.encode())
            flags = (str(file), *flags)
        capsys.readouterr()
        code = main(["check-table", *flags])
        return code, " ".join("".join(capsys.readouterr()).split())

    return check


# The paper's table


def test_matrices_behind_the_papers_rows() -> None:
    found = {
        check.row.name: [tuple(matrix) for matrix in check.fits.list_first(9)]
        for check in check_table(list_printed_rows()).rows
    }
    assert found == {
        "original MobileNet v3": [(34, 14, 3, 23)],
        "original EfficientNetB0": [(29, 9, 8, 28)],
        "new MobileNet v3": [(29, 2, 8, 35)],
        "new EfficientNetB0": [],
    }


def test_the_paper_rounds_one_row_and_cuts_off_another() -> None:
    rows = check_table(list_printed_rows()).rows
    assert find_mixed_rounding(rows) == (
        "rounded: original EfficientNetB0; cut off: new MobileNet v3"
    )


def test_findings_in_the_paper() -> None:
    findings = [
        text for row in list_printed_rows() for text in list_inconsistencies(check_row(row))
    ]
    assert findings == [
        "new MobileNet v3: accuracy is printed as 0.8648, but Fig 10b gives 0.8243.",
        "new MobileNet v3: precision is printed as 0.9354, but Fig 10b gives 0.8529.",
        "new MobileNet v3: f1 is printed as 0.8529, but Fig 10b gives 0.8169.",
        "new EfficientNetB0: no confusion matrix of 37 positive and 37 negative test images gives "
        "accuracy 0.9189, precision 0.9444, recall 0.9189, f1 0.9315. In conflict: accuracy with "
        "precision; accuracy with f1. precision, recall, f1 fit (34, 2, 3, 35) only, whose "
        "accuracy is 0.9324, not 0.9189.",
        "new EfficientNetB0: accuracy is printed as 0.9189, but Fig 9b gives 0.9324.",
    ]


def test_mcnemar_in_the_paper() -> None:
    found = [
        (pair.model, pair.baseline, pair.compared, *_round(pair.by_totals), *_round(pair.by_class))
        for pair in check_table(list_printed_rows()).pairs
    ]
    mobilenet, efficientnet, all_cells = "MobileNet v3", "EfficientNetB0", "original: all cells"
    assert found == [
        (mobilenet, all_cells, "new: all cells", 0.016, 0.25, 0.14, 0.25),
        (mobilenet, all_cells, "new: Fig 10b", 0.13, 0.58, 0.42, 0.58),
        (efficientnet, all_cells, "new: precision, recall, f1", 0.0005, 0.017, 0.0005, 0.017),
        (efficientnet, all_cells, "new: accuracy", 0.001, 0.035, 0.001, 0.035),
    ]


def _round(found) -> tuple[float, float]:
    """Round to two digits, or to four decimals if that is fewer; halves up."""

    def shorten(p: float) -> float:
        decimals = 2 if p >= 0.1 else 3 if p >= 0.00095 else 4
        return int(p * 10**decimals + 0.5) / 10**decimals

    return shorten(found.low), shorten(found.high)


@pytest.mark.parametrize("row", PUBLISHED)
def test_the_papers_matrices_hold_its_test_set(row) -> None:
    sums = row.confusion.tp + row.confusion.fn, row.confusion.fp + row.confusion.tn
    assert sums == (N_POSITIVE, N_NEGATIVE)


def test_command_on_the_paper(run) -> None:
    code, printed = run(None, "--paper")
    assert code == 3
    assert "Finding: new EfficientNetB0: no confusion matrix" in printed
    assert "29, 2, 8, 35 cut off" in printed
    assert "original: all cells new: all cells 0.0156 … 0.248 0.143 … 0.248 no overlap" in printed
    assert "all ways in which the errors" in printed


# The command on files


def test_example_of_the_documentation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (example,) = re.findall(r"```csv\n(.*?)```\n\n```text\n(.*?)```", PAGE.read_text("utf-8"), re.S)
    (tmp_path / "results.csv").write_text(example[0], encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    capsys.readouterr()
    assert main(["check-table", "results.csv"]) == 3
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert "\n".join(lines).rstrip() == example[1].rstrip()


def test_consistent_table_ends_with_0(run) -> None:
    code, printed = run("model,data_set,recall,specificity,n_test\na,x,.5,1.00,6\n")
    assert code == 0
    assert "Every row is consistent" in printed
    assert "1, 0, 1, 4" in printed
    assert "2, 0, 2, 2" in printed
    assert "McNemar" not in printed


def test_decimal_commas_percentages_and_other_names(run) -> None:
    text = "\ufeffModel;Dataset;Accuracy;F1-score;Sensitivity;AUC;n_positive;n_negative\r\n"
    code, printed = run(text + "a;x;97,50 %;97,44%;0,95;0,99;20;20\r\n")
    assert code == 0
    assert "19, 0, 1, 20" in printed
    assert "Not checked: auc" in printed


def test_given_matrix_that_contradicts(run) -> None:
    header = "model,data_set,accuracy,tp,fp,fn,tn\n"
    code, printed = run(header + "a,x,0.80,3,1,1,5\na,y,0.90,4,1,1,4\n")
    assert code == 3
    assert "y a: accuracy is printed as 0.90, but the matrix given gives 0.8000." in printed
    assert "x a: accuracy" not in printed
    assert "classes differ" in printed  # 4 + 6 and 5 + 5


def test_rows_of_other_test_sets_are_not_compared(run) -> None:
    code, printed = run(HEADER + "a,x,0.80,5,5\na,y,0.8,10,10\n")
    assert code == 0
    assert "10 and 20 test images: not the same" in " ".join(printed.split())


def test_markup_in_names_is_shown_as_it_is(run) -> None:
    _, printed = run(HEADER + "[bold]a[/],x,0.80,5,5\n")
    assert "[bold]a[/]" in printed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "has no row"),
        (HEADER, "has no row"),
        (b"\xff\xfe\x00", "in another encoding"),
        ("data_set,accuracy,n_test\nx,0.8,10\n", "Line 1: Expected a column model"),
        ("model,data_set,n_test\na,x,10\n", "Line 1: Expected at least one of the columns acc"),
        ("model,data_set,acuracy\na,x,1\n", "Did you mean `accuracy`?"),
        ("model,model,accuracy\na,x,1\n", "Expected the column model once"),
        (HEADER + "a,x,good,5,5\n", "Line 2, column accuracy: Expected a share such as 0.93"),
        (HEADER + "a,x,nan,5,5\n", "column accuracy: Expected a share such as 0.93"),
        (HEADER + "a,x,-0.1,5,5\n", "column accuracy: Expected a share such as 0.93"),
        (HEADER + "a,x,92.5,5,5\n", "share from 0 to 1, but got `92.5`. A percentage needs its"),
        (HEADER + "a,x,101%,5,5\n", "share from 0 to 1, but got `101%`"),
        (HEADER + "a,x,0,92,5,5\n", "Line 2: Expected 5 columns as in the header, but got 6"),
        (HEADER + "a,x,0.8,-5,5\n", "column n_positive: Expected a whole number of images"),
        (HEADER + "a,x,0.8,5.5,5\n", "column n_positive: Expected a whole number of images"),
        (HEADER + "a,x,0.8,5,\n", "column n_negative: Expected n_positive and n_negative, or"),
        (HEADER + "a,x,0.8,0,0\n", "Expected at least one test image"),
        (HEADER + "a,x,,5,5\n", "Expected at least one figure in this row"),
        (HEADER + ",x,0.8,5,5\n", "Line 2, column model: Expected a name"),
        (
            HEADER + "a,x,0.8,5,5\n\na,x,0.9,5,5\n",
            "Line 4, column data_set: Expected each row once",
        ),
        (HEADER + 'a,x,"0.8,5,5\n', "Expected CSV"),
        ("model,data_set,recall,n_test\na,x,.5,5000\n", "Give n_positive and n_negative."),
        (
            "model,data_set,recall,n_positive,n_negative,n_test\na,x,.5,5,5,11\n",
            "column n_test: Expected n_positive + n_negative = 10, but got 11",
        ),
        (
            "model,data_set,recall,n_positive,n_test\na,x,.5,12,11\n",
            "column n_positive: Expected at most the 11 of n_test, but got 12",
        ),
        (
            "model,data_set,recall,n_test,tp,fp,fn,tn\na,x,.5,11,1,2,3,4\n",
            "column n_test: Expected tp + fp + fn + tn = 10, but got 11",
        ),
        (
            "model,data_set,recall,n_positive,n_negative,tp,fp,fn,tn\na,x,.5,5,5,1,2,3,4\n",
            "column n_positive: Expected tp + fn = 4, but got 5",
        ),
        (
            "model,data_set,recall,tp,fp,fn,tn\na,x,.5,1,2,,4\n",
            "column fn: Expected all of tp, fp, fn, tn or none",
        ),
        ("model,data_set,recall,tp,fp,fn,tn\na,x,.5,0,0,0,0\n", "all four are 0"),
    ],
)
def test_bad_table_is_refused_with_its_place(run, text: str | bytes, expected: str) -> None:
    code, printed = run(text)
    assert code == 2
    assert expected in printed
    assert "Traceback" not in printed


def test_missing_file_and_missing_choice(run, tmp_path: Path) -> None:
    code, printed = run(None, str(tmp_path / "nowhere.csv"))
    assert code == 2
    assert "nowhere.csv: No such file" in printed
    assert run(None) == (
        2,
        "Error: Expected either a CSV file or --paper, but got neither.",
    )
    code, printed = run(HEADER, "--paper")
    assert code == 2
    assert "but got both" in printed


def test_help_tells_the_exit_codes(run) -> None:
    code, printed = run(None, "--help")
    assert code == 0
    assert "0: all rows are consistent; 3: findings" in printed
