"""`osteo-ray explain`."""

from collections.abc import Sequence
from functools import partial

from osteo_ray.base.noise import Capture
from osteo_ray.commands.as_json import print_json
from osteo_ray.commands.help_text import JSON
from osteo_ray.commands.parsing import DONE, parse_config
from osteo_ray.commands.terminal import run_captured, say
from osteo_ray.config.explain import ExplainConfig

_EXPLAIN_HELP = """\
Explain each image of a set with one trained classifier, by LIME, Grad-CAM or another method.

osteo-ray explain DATA --checkpoint FILE reads the images of DATA (a folder of images is enough,
with or without a subfolder per class) at the size that the classifier was trained on, and writes
their masks to masks/ in --out. FILE is the model.safetensors that a training of osteo-ray compare
wrote. Nothing is trained. Run the same command again to resume it. The exit code is 0 even if
single images cannot be explained: they are counted, and their rows say why.
"""


def parse_explain(arguments: Sequence[str]) -> ExplainConfig:
    """Build the configuration of `explain`; the first word may name the data."""
    return parse_config(ExplainConfig, arguments, "osteo-ray explain", _EXPLAIN_HELP)


def explain_command(arguments: list[str]) -> int:
    """Run `osteo-ray explain` with these words; return the exit code."""
    kept = "Finished explanations are kept. Run the same command again to resume."
    return run_captured(
        partial(run_explain, as_json=JSON in arguments), parse_explain(arguments), kept=kept
    )


def run_explain(config: ExplainConfig, captured: Capture, *, as_json: bool = False) -> int:
    """Explain a set of images, show progress and the outcome; return the exit code."""
    # Imported here: Ray takes seconds to import, and `--help` does without it.
    from osteo_ray.base.progress import JobProgress
    from osteo_ray.commands.explain_tables import show_explanations
    from osteo_ray.commands.logs import keeping_log
    from osteo_ray.pipeline.explain.explain_set import explain_set
    from osteo_ray.pipeline.explain.prepare_set import find_subject, locate_set

    run = locate_set(config, find_subject(config.checkpoint), partial(say, captured.err))
    with keeping_log(captured, run):
        _, summary = explain_set(config, JobProgress(captured.err))
    if as_json:
        print_json(captured.out, {"masks": run.masks, "summary": summary})
        return DONE
    show_explanations(captured.out, summary)
    say(captured.out, f"Masks: {run.masks}")
    return DONE
