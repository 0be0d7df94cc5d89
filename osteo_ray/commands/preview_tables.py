"""What a comparison would do, on a terminal."""

from rich.console import Console

from osteo_ray.commands.terminal import print_table, say
from osteo_ray.pipeline.compare.preview import Preview


def _write_bytes(count: float) -> str:
    gib = count / 2**30
    return f"{gib:.1f} GiB" if gib >= 1 else f"{count / 2**20:.0f} MiB"


def show_preview(console: Console, found: Preview) -> None:
    """Show what a comparison would do."""
    work, parts = found.work, found.parts
    classes = ", ".join(f"{name} {n}" for name, n in found.classes.items())
    free = "" if found.free_bytes is None else f" of {_write_bytes(found.free_bytes)} free"
    rows = {
        "run directory": f"{found.run.root}{', which would be resumed' if found.exists else ''}",
        "images listed": f"{sum(found.classes.values())}: {classes}",
        "per seed": f"about {parts.train:.0f} for training, {parts.validation:.0f} for "
        f"validation, {parts.test:.0f} for testing, if none is a copy or set aside",
        "image size": f"{found.image_size.tell()}, {found.bits} bits",
        "seeds": str(found.seeds),
        "models": ", ".join(found.models),
        "arms": ", ".join(found.arms),
        "trainings": f"{work.n_models * work.n_trainings:,}",
        "explanations": f"{work.n_models * work.n_explanations:,}",
        "forward passes": f"{work.passes:,.0f} at most",
        "disk": f"{_write_bytes(found.needed_bytes)} or more{free}",
        "plan": found.plan_hash,
    }
    print_table(console, ("", ""), rows.items(), prose=(1,))
    for line in found.reading:
        say(console, line)
    say(console, "Nothing was read, written or started. `osteo-ray plan` says what it can show.")
