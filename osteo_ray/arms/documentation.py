"""The arms as a table for the documentation.

`python -m osteo_ray.arms.documentation` prints what README.md holds.
"""

from osteo_ray.arms.registry import ARMS


def tabulate_arms() -> str:
    """Return all arms as a Markdown table, one per row, without a final line break."""
    lines = [
        "| arm | trained and tested on | what it is for | presets |",
        "|---|---|---|---|",
    ]
    for arm in ARMS.values():
        source = f" ({arm.literature})" if arm.literature else ""
        presets = ", ".join(f"`{preset}`" for preset in arm.presets) or "–"
        lines.append(f"| `{arm.name}` | {arm.shows} | {arm.purpose}{source} | {presets} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(tabulate_arms())
