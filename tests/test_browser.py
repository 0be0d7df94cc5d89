"""The page of a run in a real browser, where there is one."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from osteo_ray.commands.main import main
from osteo_ray.pipeline.compare.stages import Outcome

BROWSER = shutil.which("chromium")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking")
_MEASURE = """<script>addEventListener("load", () => {
const all = [...document.querySelectorAll(".scroll")];
const wide = all.filter(e => e.scrollWidth > e.clientWidth + 1);
const names = wide.map(e => e.getAttribute("aria-label") || e.className);
const page = document.documentElement;
const ink = getComputedStyle(document.body);
const cells = [...document.querySelectorAll(".matrix td[style]")].map(e => getComputedStyle(e));
const colours = cells.map(e => e.color + " on " + e.backgroundColor).join("|");
const excess = page.scrollWidth - innerWidth;
document.body.innerHTML = `<pre id="found">${excess};${names};${ink.color} on `
  + `${ink.backgroundColor};${colours}</pre>`;
})</script></body>"""


def measure(page: str, tmp_path: Path, *flags: str, script: str = _MEASURE) -> list[str]:
    """Open a page; return how much wider it is than the window, which parts scroll, and colours.

    Another script returns what it finds.
    """
    assert BROWSER is not None
    without = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    file = tmp_path / "page.html"
    file.write_text(without.replace("</body>", script))
    words = [BROWSER, *FLAGS, *flags, "--dump-dom", file.as_uri()]
    printed = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120).stdout
    found = re.search(r'<pre id="found">(.*?)</pre>', printed, re.DOTALL)
    assert found is not None
    return found[1].split(";")


def read_colour(text: str) -> tuple[float, ...]:
    """Read `rgb(r, g, b)` or `color(srgb r g b)` as shares in [0, 1]."""
    numbers = [float(number) for number in re.findall(r"[\d.]+", text)]
    return tuple(numbers[:3]) if "srgb" in text else tuple(one / 255 for one in numbers[:3])


def contrast(text: str, ground: str) -> float:
    """Return the contrast ratio of WCAG 2.2."""
    weights = (0.2126, 0.7152, 0.0722)

    def shine(colour: str) -> float:
        linear = [
            one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4
            for one in read_colour(colour)
        ]
        return sum(weight * one for weight, one in zip(weights, linear, strict=True))

    low, high = sorted((shine(text), shine(ground)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast("rgb(0, 0, 0)", "color(srgb 1 1 1)") == pytest.approx(21)
    assert contrast("rgb(119, 119, 119)", "rgb(255, 255, 255)") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("width_px", [390, 1400, 1920])
def test_nothing_is_cut_off_and_all_numbers_can_be_read(
    width_px: int, mode: str, finished: Outcome, tmp_path: Path
) -> None:
    page = finished.run.report.read_text(encoding="utf-8")
    dark = ("--blink-settings=preferredColorScheme=0",) if mode == "dark" else ()
    excess, wide, ink, cells = measure(page, tmp_path, f"--window-size={width_px},900", *dark)
    assert int(excess) <= 0
    if width_px >= 1400:
        assert wide == ""
    pairs = [ink, *cells.split("|")]
    assert len(pairs) == 1 + 2 * 4  # two arms, of two classes each
    assert min(contrast(*pair.split(" on ")) for pair in pairs) >= 4.5
    text, ground = ink.split(" on ")
    assert (sum(read_colour(ground)) < sum(read_colour(text))) == (mode == "dark")


_TRY = """<script>addEventListener("load", () => {
const form = document.querySelector(".filters");
const cases = [...document.querySelectorAll(".gallery .sample")];
const list = () => cases.map((one, n) => one.hidden ? "" : n).filter(n => n !== "").join(" ");
const choose = (values) => {
  for (const one of form.querySelectorAll("select")) one.value = values[one.name] || "";
  form.dispatchEvent(new Event("change", { bubbles: true }));
  return list();
};
const found = [form.hidden, list()];
form.querySelector("button").click();
found.push(list(), form.querySelector("output").value);
for (const values of WANTED) found.push(choose(values));
found.push(document.querySelector(".nothing").hidden);
const range = document.querySelector(".strip input[type=range]");
const over = range.parentElement.querySelector(".over");
found.push(getComputedStyle(over).clipPath);
range.value = 40;
range.dispatchEvent(new Event("input"));
found.push(getComputedStyle(over).clipPath, over.getBoundingClientRect().width > 20);
document.body.innerHTML = `<pre id="found">${found.join(";")}</pre>`;
})</script></body>"""


def test_filters_and_slider_work(finished: Outcome, tmp_path: Path) -> None:
    page = finished.run.report.read_text(encoding="utf-8")
    cases = re.findall(r'<section class="sample"(.*?)>', page, re.DOTALL)
    data = [dict(re.findall(r'data-(\w+)="([^"]*)"', one)) for one in cases]
    assert len(data) > 1
    label = data[0]["label"]
    wanted = [
        {"label": label},
        {"outcome": "wrong", "arm": "lime"},
        {"outcome": "right", "arm": "original"},
        {"outcome": "unstable"},
    ]
    script = _TRY.replace("WANTED", json.dumps(wanted))
    hidden, few, every, said, *rest = measure(page, tmp_path, script=script)
    of_label, wrong, right, unstable, nothing, closed, opened, seen = rest

    def number(fits: Callable[[dict[str, str]], bool]) -> str:
        return " ".join(str(n) for n, one in enumerate(data) if fits(one))

    assert hidden == "false"
    assert few == " ".join(map(str, range(min(8, len(data)))))
    assert every == " ".join(map(str, range(len(data))))
    assert said == f"{len(data)} shown of {len(data)}"
    assert of_label == number(lambda one: one["label"] == label)
    assert wrong == number(lambda one: "lime" in one["wrong"].split())
    assert right == number(lambda one: "original" in one["right"].split())
    assert unstable == number(lambda one: one["unstable"] == "1")
    assert (nothing == "true") == bool(unstable)
    assert (closed, opened) == ("inset(0px 100% 0px 0px)", "inset(0px 60% 0px 0px)")
    assert seen == "true"


def test_script_runs_under_the_policy_of_the_page(finished: Outcome, tmp_path: Path) -> None:
    assert BROWSER is not None
    words = [BROWSER, *FLAGS, "--dump-dom", Path(str(finished.run.report)).as_uri()]
    printed = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120).stdout
    assert '<div class="filters" role="group" aria-label' in printed  # no longer hidden
    assert 'type="range"' in printed


@pytest.mark.parametrize("width_px", [390, 1400])
def test_page_about_several_runs_is_not_cut_off(
    width_px: int, finished: Outcome, tmp_path: Path
) -> None:
    page, root = tmp_path / "several.html", str(finished.run.root)
    assert main(["report", root, root, "--out", str(page)]) == 0
    excess, wide, ink, _ = measure(page.read_text(), tmp_path, f"--window-size={width_px},900")
    assert int(excess) <= 0
    if width_px == 1400:
        assert wide == ""
    assert contrast(*ink.split(" on ")) >= 4.5


_PAGE_PX = (718, 1047)
"""The part of A4 that is printed, at 96 pixels per inch and with margins of 1 cm."""
_PRINT = """<script>addEventListener("load", () => {
const all = (what) => [...document.querySelectorAll(what)];
const height = (e) => e.getBoundingClientRect().height;
const cut = all("table, figure, .sample, pre").filter(e => e.scrollWidth > innerWidth);
const whole = all("figure.plot, .sample, .columns > div, tr").map(height);
const closed = all("details > :not(summary)").filter(e => !height(e) && e.tagName != "SCRIPT");
const rows = all(".sample .strip").map(e => new Set([...e.children].map(f => f.offsetTop)).size);
const gone = all("nav, .filters, .strip input").filter(e => getComputedStyle(e).display != "none");
const found = [all("details").length, document.documentElement.scrollWidth - innerWidth,
  cut.length, Math.max(...whole), closed.length, Math.max(...rows), gone.length];
document.body.innerHTML = `<pre id="found">${found.join(";")}</pre>`;
})</script></body>"""


def test_print_shows_all_and_cuts_nothing(finished: Outcome, tmp_path: Path) -> None:
    """By the styles of print, in a window as wide as the printed part of a page."""
    page = finished.run.report.read_text(encoding="utf-8")
    assert page.count("@media print") == 1
    size = f"--window-size={_PAGE_PX[0]},{_PAGE_PX[1]}"
    printed = page.replace("@media print", "@media all")
    n_details, excess, cut, tallest, closed, rows, gone = map(
        float, measure(printed, tmp_path, size, script=_PRINT)
    )
    assert n_details >= 4
    assert excess <= 0
    assert (cut, closed, gone) == (0, 0, 0)
    assert tallest < _PAGE_PX[1] / 2  # else a page may stay half empty before it
    assert rows == 1  # the pictures of a case


def test_printed_pages_are_few_and_none_is_nearly_empty(finished: Outcome, tmp_path: Path) -> None:
    assert BROWSER is not None
    if shutil.which("pdftotext") is None:
        pytest.skip("needs pdftotext")
    file = tmp_path / "page.pdf"
    print_to = (f"--print-to-pdf={file}", "--no-pdf-header-footer")
    words = [BROWSER, *FLAGS, *print_to, Path(str(finished.run.report)).as_uri()]
    subprocess.run(words, capture_output=True, check=True, timeout=120)
    told = subprocess.run(["pdftotext", file, "-"], capture_output=True, text=True, check=True)
    pages = told.stdout.split("\f")[:-1]
    assert len(pages) < 20
    text = " ".join(told.stdout.split())
    # What is inside `details`, which are closed on the screen.
    for heading in ("All metrics, with intervals", "Each pair of arms on the test images"):
        assert heading in text
    assert "PPV at threshold" in text
