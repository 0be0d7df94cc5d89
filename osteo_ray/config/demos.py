"""Demos: settings of comparisons on planted worlds, whose truth is known."""

from collections.abc import Mapping
from typing import Any

from osteo_ray.base.errors import InputError, suggest
from osteo_ray.base.mappings import merge_settings
from osteo_ray.base.paths import PHANTOM
from osteo_ray.config.problems import say_value

PHANTOM_DEFAULTS: dict[str, Any] = {
    "models": ("test_byobnet", "test_efficientnet"),
    "weights": ("none",),
    "arms": ("demo",),
    "seeds": 5,
    "image_size": 64,
    "training": {
        "epochs": 8,
        "per_worker_batch_size": 16,
        "learning_rate": 3e-3,
        "augmentation": {"rotation_deg": 10.0, "shift": 0.05, "shear": 0.05, "zoom": 0.1},
    },
    "lime": {"samples": 64, "batch_size": 64},
    "phantom": {"difficulty": 0.2},
}
"""What differs from the defaults if the data are phantoms: small enough for two CPU cores."""

DEFAULT_DEMO = "outline"
DEMOS: dict[str, dict[str, Any]] = {
    DEFAULT_DEMO: {
        "models": ("test_efficientnet",),
        "arms": ("original", "lime", "random_mask", "silhouette"),
        "training": {"epochs": 12},
        "lime": {"samples": 128, "superpixels": "grid", "n_superpixels": 25, "top_k": 2},
        "phantom": {"n_images": 300, "difficulty": 0.0},
        "statistics": {"margin": 0.1},
    },
    "gain": {
        "models": ("test_efficientnet",),
        "arms": ("regions",),
        "seeds": 10,
        "folds": 5,
        "image_size": "64x128",
        "background": "mean",
        "training": {"epochs": 15},
        "lime": {"superpixels": "grid", "n_superpixels": 32},
        "phantom": {
            "n_images": 240,
            "size_px": 64,
            "duplicate_share": 0.0,
            "difficulty": 0.0,
            "nuisance": 0.3,
            "bilateral": True,
        },
    },
}
"""What differs further, by the name that `--demo` takes: worlds whose verdicts are settled.

outline: disease that the eye can tell, and masks that show a twelfth of each image. Networks do as
well on them as on whole images, and as well on their bare outlines: the mask carries the label.

gain: films of two knees, either of which may be ill, and the label is that of one. The region that
is given with each film tells which, so a network that is shown it alone has less to be wrong about.
"""


def find_demo(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings of the demo that is asked for, and what else was given.

    Args:
        settings: What the user gave; `demo` names a demo. Phantoms have smaller defaults without
            one, too; other data have none of either.

    Raises:
        InputError: There is no such demo, or it is asked for with other data.
    """
    rest = dict(settings)
    name, data = rest.pop("demo", None), rest.get("data", PHANTOM)
    if name is not None and data != PHANTOM:
        raise InputError(
            f"Expected either data or a demo, but got {say_value(data)} and the demo "
            f"{say_value(name)}, which brings "
            "its own images. Drop one."
        )
    if data != PHANTOM:
        return {}, rest
    if name is None:
        return PHANTOM_DEFAULTS, rest
    if not isinstance(name, str) or name not in DEMOS:
        raise InputError(
            f"Expected a demo among {', '.join(DEMOS)}, but got {say_value(name)}."
            + (suggest(name, DEMOS) if isinstance(name, str) else "")
        )
    return merge_settings(PHANTOM_DEFAULTS, DEMOS[name]), rest
