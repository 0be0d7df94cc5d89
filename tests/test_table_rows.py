"""Printed tables as people keep them: CSV, Markdown, LaTeX."""

from pathlib import Path

import pytest

from osteo_ray.base.errors import InputError
from osteo_ray.check_table.cells import read_cell
from osteo_ray.check_table.table_file import read_printed_table
from osteo_ray.check_table.table_rows import read_fields
from osteo_ray.commands.main import main

ROWS = [["Model", "Acc. (%)", "Sens.", "n_test"], ["A & B", "93.2", "–", "74"]]
MARKDOWN = """
| Model | Acc. (%) | Sens. | n_test |
|:------|---------:|:-----:|--------|
| A & B | 93.2     | –     | 74     |
"""
LATEX = r"""
\begin{table}[ht]
\caption{Test images, 50\,\% of them ill}  % not yet final & complete
\begin{tabular}{@{}lccc@{}}
\toprule
 & \multicolumn{3}{c}{Test set} \\ \cmidrule(lr){2-4}
Model & Acc. (\%) &
  Sens. & n\_test \\ \midrule
A~\& B~\cite{his2020} & \textbf{93.2} & -- & $74$ \\[2pt]
\bottomrule
\end{tabular}
\end{table}
"""


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("Model,Acc. (%),Sens.,n_test\nA & B,93.2,–,74\n", [1, 2]),
        ("Model;Acc. (%);Sens.;n_test\n;;;\nA & B;93.2;–;74\n", [1, 3]),
        ("Model\tAcc. (%)\tSens.\tn_test\nA & B\t93.2\t–\t74", [1, 2]),
        (MARKDOWN, [2, 4]),
        (MARKDOWN.replace("|\n", "\n"), [2, 4]),  # bars at the end may be left out
        (LATEX, [7, 9]),
        (LATEX.replace("\\toprule\n", "").replace("\\midrule", "\\hline"), [6, 8]),
        (r"Model & Acc. (\%) & Sens. & n\_test \\" + "\n" + r"A \& B & 93.2 & --- & 74", [1, 2]),
    ],
)  # fmt: skip
def test_forms_of_one_table(text: str, lines: list[int]) -> None:
    found = list(read_fields(text))
    assert [cells for _, cells in found] == ROWS
    assert [number for number, _ in found] == lines


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        (r"\textbf{93.2\,\%}", "93.2%"),
        (r"$93.2 \pm 0.4$", "93.2 ± 0.4"),
        (r"\underline{\textbf{0.93}}", "0.93"),
        (r"0.91 (0.85--0.95)", "0.91 (0.85–0.95)"),
        (r"{93.2}", "93.2"),
        (r"$0.93_{\pm 0.02}$", "0.93 ± 0.02"),
        (r"$0.93_{\pm.02}$", "0.93 ±.02"),
        (r"$0.93^{\pm0.02}$", "0.93 ±0.02"),
        (r"$\mathbf{93.2}_{\pm 0.4}$\,\%", "93.2 ± 0.4%"),
        (r"\textbf{$0.93_{\scriptstyle\pm 0.02}$}", "0.93 ± 0.02"),
        (r"\underline{0.93}$_{\text{\tiny $\pm$0.02}}$", "0.93 ±0.02"),
        (r"0.93\textsubscript{±0.02}", "0.93 ±0.02"),
        (r"0.93 {\scriptsize $\pm$ 0.02}", "0.93 ± 0.02"),
        (r"0.93{\small (0.85--0.95)}", "0.93 (0.85–0.95)"),
        (r"$0.93^{*}$", "0.93 *"),
        # A mark is not one more decimal.
        (r"$0.93^{1}$", "0.93 1"),
        (r"0.93\textsuperscript{1}", "0.93 1"),
        (r"", ""),
    ],
)  # fmt: skip
def test_cells_of_latex_are_what_they_show(cell: str, shown: str) -> None:
    ((_, (first, second)),) = read_fields(rf"A & {cell} \\")
    assert (first, second) == ("A", shown)


@pytest.mark.parametrize(
    "cell",
    [
        *(r"$93.2_{\pm 0.4}$", r"$93.2_{\pm.4}$", r"$93.2^{\pm0.4}$", r"$93.2 \pm 0.4$"),
        *(r"93.2\textsubscript{±0.4}", r"\textbf{93.2}{\tiny $\pm$0.4}"),
        r"93.2{\small (90.1--95.0)}",
    ],
)
def test_spread_in_small_type_is_left_aside(cell: str) -> None:
    ((_, (_, shown)),) = read_fields(rf"A & {cell} \\")
    assert read_cell(shown, percent=True).units == 932


def test_bar_within_a_cell_of_markdown() -> None:
    assert list(read_fields("| a \\| b | c |")) == [(1, ["a | b", "c"])]


@pytest.mark.parametrize("text", [MARKDOWN, LATEX])
def test_every_form_is_checked_alike(text: str, tmp_path: Path, capfd) -> None:
    (tmp_path / "results").write_text(text)
    assert main(["check-table", str(tmp_path / "results")]) == 0
    assert "A & B" in capfd.readouterr().out


def test_what_is_wrong_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "results.md").write_text(MARKDOWN + "| C | 93.2 |\n")
    with pytest.raises(InputError, match="Line 5: Expected 4 columns as in the header, but got 2"):
        read_printed_table(tmp_path / "results.md")
    with pytest.raises(InputError, match="Line 2: Expected CSV, but found"):
        list(read_fields('a,b\n"c,d'))
