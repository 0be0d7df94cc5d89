"""The arms as a table for the documentation.

`python -m osteo_ray.arms.documentation` prints what docs/arms.md holds.
"""

from osteo_ray.arms.cam_package import CAM_ARMS
from osteo_ray.arms.registry import ARMS


def tabulate_arms() -> str:
    """Return all arms as a Markdown table, without a final line break.

    Each arm has a row of its own, except those of the `grad-cam` package, which share one.
    """
    lines = [
        "| arm | trained and tested on | what it is for | presets |",
        "|---|---|---|---|",
    ]
    for arm in ARMS.values():
        names, shows = f"`{arm.name}`", arm.shows
        source = f" ({arm.literature})" if arm.literature else ""
        if arm in CAM_ARMS:
            if arm != CAM_ARMS[0]:
                continue
            names, source = ", ".join(f"`{one.name}`" for one in CAM_ARMS), ""
            shows = "the region by that method of the `grad-cam` package, of the same area, × image"
        presets = ", ".join(f"`{preset}`" for preset in arm.presets) or "–"
        lines.append(f"| {names} | {shows} | {arm.purpose}{source} | {presets} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(tabulate_arms())
