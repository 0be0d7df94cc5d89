"""`osteo-ray check-table`: the paper's table, the file format, what is refused."""

import re
from pathlib import Path

import pytest
from scipy import stats

from osteo_ray.base.errors import InputError
from osteo_ray.check_table.headers import read_header
from osteo_ray.check_table.published import N_NEGATIVE, N_POSITIVE, PUBLISHED, list_printed_rows
from osteo_ray.check_table.row_check import check_row, list_inconsistencies
from osteo_ray.check_table.table_check import check_table, find_mixed_rounding
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
    # The new column: 64 right against 57 of 74, 17 to 27 of which only one gets right.
    assert "no overlap 4.8%" in printed
    assert "both right or both wrong on 80 to 95% of the images" in printed


def test_what_the_papers_claims_are_worth() -> None:
    by_basis = {
        (pair.model, pair.compared): pair.claim for pair in check_table(list_printed_rows()).pairs
    }
    claim = by_basis["MobileNet v3", "new: all cells"]
    assert claim is not None
    # Only 17 images differ at least, 77.0 % agreement; 12 against 5.
    assert claim.agreement == pytest.approx((57 / 74, 57 / 74))
    assert claim.mean == pytest.approx(stats.beta.cdf(0.5, 13, 6))


# The command on files


def list_examples() -> list[tuple[str, str, str]]:
    """Return the tables of the documentation: the command, the file, and what is printed."""
    page = PAGE.read_text("utf-8")
    return re.findall(
        r"```csv\n(.*?)```\n\n```bash\n(osteo-ray check-table .*?)\n```\n\n```text\n(.*?)```",
        page,
        re.S,
    )


@pytest.mark.parametrize("number", range(7))
def test_example_of_the_documentation(
    number: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = list_examples()
    assert len(examples) == 7
    table, command, expected = examples[number]
    (tmp_path / "results.csv").write_text(table, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    capsys.readouterr()
    words, _, code = command.partition("   # exit code ")
    assert main(words.split()[1:]) == int(code)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert "\n".join(lines).rstrip() == expected.rstrip()


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


PRINTED = (
    "Method;Accuracy (%);Sens.;Specificity;PPV;F1 score;Balanced accuracy;Cohen's kappa;AUC;n\n"
    "A;80.0;0.80 ± 0.02;0.80 (0.72-0.87);57.1%;0,667;80.0;0.53;0.88;120\n"
    "B;90.0;0.90;0.90 [0.8, 0.95];75.0%;0,818;90.0;0.75;-;120.0\n"
    "C;n/a;-;0.90;–;N/A;;;;120\n"
)


@pytest.mark.parametrize("separator", [";", "\t", ","])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_table_as_people_print_it(run, separator: str, start: str) -> None:
    text = PRINTED if separator != "," else PRINTED.replace(",", ".")
    code, printed = run(start + text.replace(";", separator))
    assert code == 0, printed
    assert " A 24, 18, 6, 72 " in printed
    assert " B 27, 9, 3, 81 " in printed
    assert "Not checked: auc" in printed
    assert "between the row of the highest accuracy and the others" in printed
    assert "A: all cells B: all cells" in printed
    wrong = run(start + text.replace("0.75", "0.65").replace(";", separator), "--one-test")
    assert wrong[0] == 3
    assert "kappa 0.65" in wrong[1]


@pytest.mark.parametrize(
    ("headings", "names"),
    [
        (("Acc",), ("accuracy",)),
        (("ACC", "Sensitivity"), ("accuracy", "sensitivity")),
        (("Acc.", "TPR", "TNR"), ("accuracy", "sensitivity", "specificity")),
        (("Overall accuracy [%]", "Spec"), ("accuracy", "specificity")),
        (("Sensitivity (%)", "Recall"), ("sensitivity", "recall")),
        (("F1-score",), ("f1",)),
        (("Macro-F1", "BA", "Kappa"), ("macro_f1", "balanced_accuracy", "kappa")),
        (
            ("F1 (macro)", "bal. acc.", "κ", "MCC"),
            ("macro_f1", "balanced_accuracy", "kappa", "mcc"),
        ),
        (("f1_score", "AUC", "AUROC", "Params (M)"), ("f1", "", "", "")),
        (("Network", "Dataset", "Precision"), ("model", "data_set", "precision")),
        (("Classifier", "PPV", "NPV"), ("model", "precision", "npv")),
        (
            ("accuracy", "n_normal", "n osteopenia", "N_Osteoporosis"),
            ("accuracy", "n_class:normal", "n_class:osteopenia", "n_class:osteoporosis"),
        ),
        (("accuracy", "n", "folds"), ("accuracy", "n_test", "folds")),
    ],
)
def test_headings_in_any_spelling(headings: tuple[str, ...], names: tuple[str, ...]) -> None:
    assert read_header(list(headings), 1).names == names


def test_support_may_be_of_one_class_or_of_all() -> None:
    with pytest.raises(InputError, match=r"Line 1: .* `Support` counts .* call it n_positive and"):
        read_header(["model", "precision", "recall", "f1-score", "Support"], 1)


def test_percentage_below_one_under_a_heading_that_says_so(run) -> None:
    text = "Model,Specificity (%),n_positive,n_negative\na,0.5,1,200\nb,90.0,1,200\n"
    code, printed = run(text)
    assert code == 0
    assert " a 0, 199, 1, 1 " in printed
    assert run(text.replace(" (%)", ""))[0] == 2
    # Nor is the level of an interval a sign of percentages.
    code, printed = run(text.replace("(%)", "(95% CI)"))
    assert code == 2
    assert "the column has both `0.5` and `90.0`" in printed


def test_table_without_names(run) -> None:
    code, printed = run("Accuracy,n_positive,n_negative\n0.80,5,5\n0.9,5,5\n")
    assert code == 0
    assert " line 2 " in printed
    assert "line 2: all cells line 3: all cells" in printed


def test_counts_with_separators(run) -> None:
    text = 'model,accuracy,recall,n_positive,n_negative\na,0.9004,0.9004,"1,024",1024.0\n'
    assert run(text)[0] == 0
    assert "1844" not in run(text)[1]  # no whole matrix is listed by one number
    assert run(text.replace('"1,024"', "1,023"))[0] == 2


def test_averages_and_the_other_class_are_named(run) -> None:
    header = "model,accuracy,precision,recall,f1,n_positive,n_negative\n"
    rows = "w,0.8,0.8352,0.8,0.8095,30,90\nm,0.8,0.7473,0.8,0.7619,30,90\n"
    code, printed = run(header + rows + "o,0.8,0.9231,0.8,0.8571,30,90\n")
    assert code == 0
    assert "w: fits as a weighted average." in printed
    assert "m: fits as a macro average." in printed
    assert "o: fits as the scores of the other class." in printed
    assert printed.count("24, 18, 6, 72") == 3
    assert "Every row is consistent." in printed


def test_matrix_given_may_be_that_of_an_average(run) -> None:
    header = "model,accuracy,precision,recall,f1,tp,fp,fn,tn\n"
    code, printed = run(header + "w,0.8,0.8352,0.8,0.8095,24,18,6,72\n")
    assert code == 0
    assert "w: fits as a weighted average." in printed
    assert run(header + "w,0.8,0.8352,0.8,0.8192,24,18,6,72\n")[0] == 3


def test_mean_is_possible_and_one_test_is_not(run) -> None:
    text = HEADER.replace("accuracy", "accuracy,precision,recall,f1") + (
        "net,x,0.919,0.944,0.919,0.932,37,37\n"
    )
    code, printed = run(text)
    assert code == 0
    assert "x net: possible as the mean over" in printed
    assert "No row is proven wrong. 1 of 1 is consistent only if it is a mean" in printed
    code, printed = run(text, "--one-test")
    assert code == 3
    assert "Finding: x net: no confusion matrix" in printed
    assert "also means over runs" not in printed
    stated = text.replace("n_positive", "folds,n_positive").replace("37,37", "1,37,37")
    assert run(stated)[0] == 3


def test_three_classes(run) -> None:
    # Rows of the matrix: 40 6 4, 5 20 5, 1 4 15.
    header = "Model,Accuracy,Precision,Recall,F1,Kappa,n_normal,n_osteopenia,n_osteoporosis\n"
    code, printed = run(header + "net,75.0%,0.720,0.739,0.727,0.604,50,30,20\n")
    assert code == 0, printed
    assert "net: fits three classes as a macro average" in printed
    code, printed = run(header + "net,75.0%,0.720,0.439,0.727,0.604,50,30,20\n")
    assert code == 3
    assert "50, 30 and 20 test images of 3 classes" in printed
    other = "Model,Accuracy,Recall,class_counts\nnet,0.75,0.739,50/30/20\n"
    assert run(other)[0] == 0


def test_agreement_changes_the_claim(run) -> None:
    text = "model,accuracy,n_positive,n_negative\na,0.85,50,50\nb,0.90,50,50\n"
    close = run(text, "--agreement", "0.95", "0.95")[1]
    far = run(text, "--agreement", "0.75", "0.75")[1]
    assert "on 95 to 95% of the images" in close
    assert re.search(r"(some|no|every) overlaps? 1\.6%", close)  # 0.5 ** 6: five against none
    assert re.search(r"(some|no|every) overlaps? 16%", far)  # Beta(16, 11)
    for bad in (("0.9", "0.8"), ("-0.1", "0.8"), ("0.8", "1.1")):
        code, printed = run(text, "--agreement", *bad)
        assert code == 2
        assert "Expected two shares from 0 to 1 for --agreement" in printed


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


@pytest.mark.parametrize("accuracy", ["0·932", "0·932 (0·85–0·97)", "69/74", "69 / 74 (93%)"])
def test_figures_as_journals_print_them(run, accuracy: str) -> None:
    code, printed = run(HEADER + f"a,x,{accuracy},37,37\n")
    assert code == 0, printed
    of_60 = HEADER + f"a,x,{accuracy},30,30\n"
    code, printed = run(of_60, "--one-test")
    assert code == 3, printed
    assert accuracy in " ".join(printed.split())


def test_counts_stand_beside_percentages(run) -> None:
    assert run(HEADER + "a,x,93.24,37,37\nb,x,69/74,37,37\n")[0] == 0


def test_table_of_a_spreadsheet_in_utf_16_is_read(run) -> None:
    assert run((HEADER + "ä,x,0.80,5,5\n").encode("utf-16"))[0] == 0


def test_markup_in_names_is_shown_as_it_is(run) -> None:
    _, printed = run(HEADER + "[bold]a[/],x,0.80,5,5\n")
    assert "[bold]a[/]" in printed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "has no row"),
        (HEADER, "has no row"),
        (b"\xff\xfe\x00", "is in neither"),
        (b"accuracy\n" + b"0.5\n" * 2**22, "at most 16,777,216 characters"),
        (
            "model,recall,sensitivity,TPR,n_test\na,1,1,1,10\n",
            "Expected the column sensitivity once, but got it twice: sensitivity, TPR.",
        ),
        (
            "model,Macro F1,F1 (macro),n_test\na,1,1,10\n",
            "Expected the column macro_f1 once, but got it twice: Macro F1, F1 (macro).",
        ),
        ("model,Weighted kappa,n_test\na,1,10\n", "Expected at least one of the columns accuracy"),
        ("model,data_set,n_test\na,x,10\n", "Line 1: Expected at least one of the columns acc"),
        ("model,data_set,acuracy\na,x,1\n", "Did you mean `accuracy`?"),
        ("model,model,accuracy\na,x,1\n", "Expected the column model once"),
        (HEADER + "a,x,good,5,5\n", "Line 2, column accuracy: Expected a share such as 0.93"),
        (HEADER + "a,x,nan,5,5\n", "column accuracy: Expected a share such as 0.93"),
        (HEADER + "a,x,-0.1,5,5\n", "column accuracy: Expected a share such as 0.93"),
        (HEADER + "a,x,101,5,5\n", "share from 0 to 1, but got `101`"),
        (
            HEADER + "a,x,92.5,5,5\nb,x,0.925,5,5\n",
            "Line 3, column accuracy: Expected shares, or percentages, but the column has both "
            "`0.925` and `92.5`. Write % after percentages.",
        ),
        (
            "model,accuracy,n_normal,n_worn\na,0.8,5,5\n",
            "Expected at least three classes of at least one test image, but got [5, 5]. For two",
        ),
        (
            "model,accuracy,class_counts\na,0.8,5/x/5\n",
            "column class_counts: Expected the test images of each class, such as 50/30/20",
        ),
        (
            "model,accuracy,class_counts,n_test\na,0.8,5/5/5,16\n",
            "column n_test: Expected the sum of the classes, which is 15, but got 16",
        ),
        (
            "model,accuracy,class_counts,n_positive\na,0.8,5/5/5,6\n",
            "column n_positive: Expected two classes, but this row has 3",
        ),
        ("model,accuracy,n_test,folds\na,0.8,5,0\n", "Expected at least 1 run or fold"),
        (HEADER + "a,x,101%,5,5\n", "share from 0 to 1, but got `101%`"),
        (HEADER + "a,x,0,92,5,5\n", "Line 2: Expected 5 columns as in the header, but got 6"),
        (HEADER + "a,x,0.8,-5,5\n", "column n_positive: Expected a whole number of images"),
        (HEADER + "a,x,0.8,5.5,5\n", "column n_positive: Expected a whole number of images"),
        ("model,accuracy,n_test,folds\na,1,9,5-fold\n", "folds: Expected a whole number of folds"),
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
        "Error: Expected either a file or --paper, but got neither.",
    )
    code, printed = run(HEADER, "--paper")
    assert code == 2
    assert "but got both" in printed


def test_help_tells_the_exit_codes(run) -> None:
    code, printed = run(None, "--help")
    assert code == 0
    assert "0: all rows are consistent; 3: findings" in printed
