"""The metrics as tables for the documentation.

`python -m osteo_ray.statistics.metrics.documentation` prints what docs/verdict.md holds.
"""

from osteo_ray.base.formatting import format_percent
from osteo_ray.statistics.metrics.registry import METRICS


def tabulate_endpoints() -> str:
    """Return the metrics that a comparison may rest on, with their margins, as Markdown.

    One per row, without a final line break.
    """
    lines = ["| `--metric` | what it is | default margin | one class only |", "|---|---|---|---|"]
    for metric in METRICS.values():
        if metric.may_be_endpoint:
            margin = (
                f"{format_percent(metric.margin)} of the baseline's"
                if metric.margin_is_relative
                else f"{metric.margin:g}"
            )
            better = "" if metric.higher_is_better else ", lower is better"
            one_sided = "yes" if metric.is_one_sided else "no"
            lines.append(f"| `{metric.name}` | {metric.label}{better} | {margin} | {one_sided} |")
    return "\n".join(lines)


def tabulate_refused() -> str:
    """Return the metrics that are no endpoints, with the reason and the alternative, as Markdown.

    One per row, without a final line break.
    """
    lines = ["| refused | because | take instead |", "|---|---|---|"]
    for metric in METRICS.values():
        if metric.refused_because is not None:
            why, _, instead = metric.refused_because.partition("; take ")
            lines.append(f"| `{metric.name}` | {why} | {instead} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(f"{tabulate_endpoints()}\n\n{tabulate_refused()}")
