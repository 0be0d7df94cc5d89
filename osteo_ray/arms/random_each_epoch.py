"""Random masks as augmentation: whole images are tested."""

from osteo_ray.arms.arm import Arm, MaskSource
from osteo_ray.arms.roles import Reference

RANDOM_EACH_EPOCH = Arm(
    name="random_each_epoch",
    label="Random masks as augmentation",
    shows="random superpixels of the same area × image, drawn anew in each epoch, in training; "
    "whole images in tests",
    purpose="shows what hiding random parts of training images is worth by itself",
    role=Reference(),
    masks=MaskSource(),
    training_masks="random in each epoch",
    tested_whole=True,
    literature="DeVries and Taylor 2017",
)
