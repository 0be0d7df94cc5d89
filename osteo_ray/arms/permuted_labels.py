"""The whole pipeline on shuffled labels, from which nothing can be learned."""

from osteo_ray.arms.arm import Arm, MaskSource
from osteo_ray.arms.roles import SanityCheck

PERMUTED_LABELS = Arm(
    name="permuted_labels",
    label="Shuffled labels",
    shows="the whole pipeline of `lime` on shuffled labels",
    purpose="must be at chance; otherwise the pipeline leaks",
    role=SanityCheck("With shuffled labels the pipeline does better than chance, so it leaks."),
    masks=MaskSource("shuffled"),
    shuffled=True,
    literature="Adebayo et al. 2018",
)
