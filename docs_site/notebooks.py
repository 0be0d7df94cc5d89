"""Notebooks: executed in this process, cell by cell, and rendered as pages.

`uv run python -m docs_site.notebooks docs/first-look.ipynb FOLDER` executes one in a folder and
writes what its cells show into it.
"""

import ast
import base64
import contextlib
import io
import json
import sys
import textwrap
from pathlib import Path
from typing import Any

_DPI = 110
_WIDTH = 92  # characters that a page has room for
_PICTURES = "notebooks"

Cell = dict[str, Any]


def read_cells(notebook: Path) -> list[Cell]:
    """Return the cells of a notebook, of format 4."""
    cells: list[Cell] = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return cells


def execute(cells: list[Cell]) -> list[Cell]:
    """Execute the cells in order, as Jupyter would, and return them with what they show.

    Raises:
        Exception: Whatever a cell raises.
    """
    known: dict[str, Any] = {"__name__": "__main__"}
    done, count = [], 0
    for cell in cells:
        if cell["cell_type"] == "code":
            count += 1
            outputs = _run_cell("".join(cell["source"]), known, count)
            cell = {**cell, "execution_count": count, "outputs": outputs}
        done.append(cell)
    return done


def _run_cell(source: str, known: dict[str, Any], count: int) -> list[dict[str, Any]]:
    tree = ast.parse(source)
    last = tree.body[-1] if tree.body else None
    if isinstance(last, ast.Expr):  # Its value is shown.
        tree.body.pop()
    said, value = io.StringIO(), None
    with contextlib.redirect_stdout(said):
        exec(compile(tree, "<cell>", "exec"), known)
        if isinstance(last, ast.Expr):
            expression = ast.Expression(last.value)
            value = eval(compile(expression, "<cell>", "eval"), known)
    outputs: list[dict[str, Any]] = []
    if said.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": _split(said.getvalue())})
    if value is not None:
        outputs.append(
            {
                "output_type": "execute_result",
                "execution_count": count,
                "metadata": {},
                "data": _show(value),
            }
        )
    return outputs


def _show(value: Any) -> dict[str, Any]:
    shown: dict[str, Any] = {"text/plain": _split(repr(value))}
    if hasattr(value, "savefig"):
        file = io.BytesIO()
        value.savefig(
            file, format="png", dpi=_DPI, bbox_inches="tight", metadata={"Software": None}
        )
        shown = {"text/plain": ["<Figure>"]}
        shown["image/png"] = base64.b64encode(file.getvalue()).decode()
    elif hasattr(value, "to_html"):
        shown["text/html"] = _split(value.to_html(border=0))
    return shown


def render_notebook(notebook: Path) -> tuple[str, dict[str, bytes]]:
    """Return a notebook as a page in Markdown, and its pictures by their place on the site."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in read_cells(notebook):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "image/png" in data:
                name = f"{_PICTURES}/{notebook.stem}-{len(pictures) + 1}.png"
                pictures[name] = base64.b64decode(data["image/png"])
                parts.append(f"![What this cell draws]({name})")
            elif "text/html" in data:
                table = "".join(data["text/html"])
                parts.append(table.replace(' class="dataframe"', ""))  # as other tables look
            else:
                text = "".join(output.get("text", data.get("text/plain", ())))
                lines = [textwrap.fill(line, _WIDTH) for line in text.rstrip().splitlines()]
                parts.append("\n".join(["```text", *lines, "```"]))
    return "\n\n".join(parts) + "\n", pictures


def _split(text: str) -> list[str]:
    return text.splitlines(keepends=True)


if __name__ == "__main__":
    path = Path(sys.argv[1]).resolve()
    content = json.loads(path.read_text(encoding="utf-8"))
    with contextlib.chdir(sys.argv[2]):
        content["cells"] = execute(content["cells"])
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
