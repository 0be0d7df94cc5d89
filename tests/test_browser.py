"""The page of a run in a real browser, where there is one."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

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


def measure(page: str, tmp_path: Path, *flags: str) -> list[str]:
    """Open a page; return how much wider it is than the window, which parts scroll, and colours."""
    assert BROWSER is not None
    without = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    file = tmp_path / "page.html"
    file.write_text(without.replace("</body>", _MEASURE))
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
