"""Planted worlds: what is true of a set of images is known, so the verdict on it can be checked.

Each world states what is true, which verdict is right, how its images are drawn, where the masks
come from, and the smallest training that shows it.
"""

from dataclasses import dataclass
from typing import Literal

from osteo_ray.explain.settings import LimeSettings
from osteo_ray.models.settings import NO_AUGMENTATION, TrainingSettings
from osteo_ray.pipeline.validate.striped_images import GRID, REGION, Drawing


def _plan_training(epochs: int, batch_size: int, learning_rate: float) -> TrainingSettings:
    # No augmentation: rotated stripes would be those of the other class.
    return TrainingSettings(
        epochs=epochs,
        per_worker_batch_size=batch_size,
        learning_rate=learning_rate,
        augmentation=NO_AUGMENTATION,
    )


TRAINING = _plan_training(10, 32, 0.01)
"""Long enough for the network without normalisation to learn stripes."""

LIME = LimeSettings(
    mode="exact",
    samples=64,
    top_k=REGION**2,
    batch_size=256,
    superpixels="grid",
    n_superpixels=GRID**2,
)
"""Superpixels are the patches; LIME keeps as many as the region has."""


@dataclass(frozen=True)
class World:
    """A set of images with a known truth, and the experiment that has to find it.

    Attributes:
        name: Its name in tables.
        truth: What is true, in words.
        verdicts: The right verdicts; the first is the one that the world is made for.
        drawing: How the images are drawn.
        masks: Which masks the arm `lime`, and all that depend on it, show: `planted` for those of
            the drawing, which lie where the truth says, or `lime` for those of LIME on the first
            model. LIME explains the class that the first model predicts, right or wrong, so its
            masks hardly let a second model exceed the first. Where a gain is to be real, or masks
            are to miss what matters, they have to be planted.
        split: `grouped` to keep copies together, or `random` to assign each image alone.
        second_start: What the arms after the first start from: the `backbone` as it was given, or
            the `first` model.
        model: The timm name.
        training: Settings of every training.
        n_seeds: Trainings of each arm, each on its own split.
        ratio: Ratio of training, validation and test images.
        margin: Differences of AUC inside ± margin do not matter.
        lime: Settings of superpixels, and of LIME where it is used.
        more_arms: Arms that are planned beside those of every world.
        first_number: Number of the first experiment that counts; the world was tuned on some with
            smaller numbers.
    """

    name: str
    truth: str
    verdicts: tuple[str, ...]
    drawing: Drawing
    masks: Literal["planted", "lime"] = "planted"
    split: Literal["grouped", "random"] = "grouped"
    second_start: Literal["backbone", "first"] = "backbone"
    model: str = "stripe_net"
    training: TrainingSettings = TRAINING
    n_seeds: int = 8
    ratio: tuple[int, int, int] = (4, 1, 2)
    margin: float = 0.05
    lime: LimeSettings = LIME
    more_arms: tuple[str, ...] = ()
    first_number: int = 2000


_COPIES = Drawing(inside="group", outside="any", n_copies=35, signal=16.0, nuisance=64.0)
_MEMORY = _plan_training(20, 32, 0.01)
_SHORT = _plan_training(3, 80, 0.0002)

WORLDS = {
    world.name: world
    for world in (
        World(
            "gain",
            "The class shows in a moving region, among random stripes; masks keep the region.",
            ("real gain",),
            Drawing(outside="chance", signal=17.0, nuisance=60.0, unreadable=0.04),
            training=_plan_training(7, 32, 0.01),
            n_seeds=12,
            ratio=(12, 1, 1),  # the less seeds share, the surer their mean
            first_number=3000,
        ),
        World(
            "equal",
            "The class shows in a region, and nothing distracts from it.",
            ("equivalent",),
            Drawing(n_images=560, unreadable=0.2),  # half as many are too few to tell
            masks="lime",
            first_number=3000,
        ),
        World(
            "loss",
            "The class shows in a region, and masks keep something else.",
            ("real loss",),
            Drawing(mask="elsewhere", unreadable=0.04),
        ),
        World(
            "outline",
            "The class hardly shows among random stripes, but the outline of the mask reveals it.",
            ("leakage",),
            Drawing(outside="chance", mask="outline", signal=20.0),
        ),
        World(
            "copies",
            "Only copies of an image reveal its class, and masks keep what identifies copies; "
            "copies of training images are tested.",
            ("leakage",),
            _COPIES,
            split="random",
            training=_MEMORY,
            n_seeds=12,
            ratio=(12, 1, 1),
            first_number=3000,
        ),
        World(
            "copies apart",
            "The same, but copies stay together, so there is nothing to learn.",
            ("nothing learned", "inconclusive", "equivalent", "real loss"),
            _COPIES,
            training=_MEMORY,
            n_seeds=10,
            ratio=(12, 1, 1),
            first_number=3000,
        ),
        World(
            "everywhere",
            "The class shows in every patch, whatever a mask keeps or removes.",
            ("equivalent",),
            Drawing(outside="class", unreadable=0.04),
            masks="lime",
            training=_plan_training(15, 32, 0.01),
            n_seeds=10,
        ),
        World(
            "nothing learned",
            "The class shows in a region, and no training is long enough to learn it.",
            ("nothing learned",),
            Drawing(),
            training=_plan_training(1, 32, 1e-5),
            n_seeds=10,
            first_number=5000,
        ),
        World(
            "rare",
            "The same as `gain`, but 95 of 100 images are of one class.",
            ("real gain",),
            Drawing(outside="chance", signal=17.0, nuisance=60.0, n_images=600, one_upright_in=20),
            training=_plan_training(7, 32, 0.01),
            first_number=6000,
        ),
        World(
            "failures",
            "Nothing shows the class but which images cannot be explained: two in five of one "
            "class, none of the other.",
            ("nothing learned", "inconclusive", "equivalent", "real loss"),
            Drawing(inside="chance", outside="chance", failing=0.4),
            n_seeds=10,
            ratio=(12, 1, 1),
            first_number=5000,
        ),
        World(
            "short",
            "The first training is too short, and masks remove nothing that matters.",
            ("second training",),
            Drawing(n_images=560, mask="nearly_all", unreadable=0.02),
            second_start="first",
            training=_SHORT,
            n_seeds=24,  # some trainings happen to be long enough, so that the gain varies
            ratio=(24, 1, 1),
            first_number=5000,
        ),
        World(
            "encoding",
            "Every image has as many straight as slanting stripes; masks select the straight ones "
            "in images of one class, the slanting ones in images of the other.",
            ("leakage",),
            # Either kind has two directions, so a classifier that knows nothing of the two, but
            # finds some directions brighter than others, does not sort them apart.
            Drawing(
                inside="half",
                outside="half",
                mask="by_class",
                n_images=600,
                nuisance=40.0,
                exposure=0.5,
            ),
            training=_plan_training(15, 32, 0.01),
            n_seeds=16,
            ratio=(12, 1, 1),
            first_number=3000,
            more_arms=("random_trained",),
        ),
        World(
            "distraction",
            "The class shows in a moving region, among random stripes that are as strong; masks "
            "keep the region. Any part of an image teaches what to look for.",
            ("real gain",),
            Drawing(outside="chance", n_images=400, signal=40.0, nuisance=40.0),
            training=_plan_training(20, 32, 0.01),
            n_seeds=12,
            ratio=(12, 1, 1),
            margin=0.02,
            more_arms=("random_trained",),
        ),
        World(
            "place",
            "The class shows in a region that is always in the middle, among random stripes; "
            "masks keep it, but any other crop to the middle would serve as well.",
            ("any crop",),
            Drawing(
                outside="chance",
                mask="part",
                moving=False,
                nuisance=60.0,
                unreadable=0.04,
            ),
            n_seeds=10,
        ),
    )
}
"""By name. Right is one verdict, but in `copies apart` and `failures`, where there is nothing to
learn, and any is that does not claim a gain.

Strengths of stripes, lengths and numbers of trainings were tuned on sets drawn with seeds 0 to 5
and 1000 to 1014, those of worlds that count from 3000 also on 2000 to 2011 (`encoding` to 2007),
`short` on 100 to 103 and, with other settings, 3000 to 3039 and 4000 to 4039, `equal` with half the
images on 2000 to 2039, and `rare` on 5000;
verdicts that are to be counted need sets of other seeds.
"""
