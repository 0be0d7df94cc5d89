"""The images as they are, in a second training: masked arms may gain by training longer."""

from osteo_ray.arms.arm import Arm
from osteo_ray.arms.roles import Control

ORIGINAL_RETRAINED = Arm(
    name="original_retrained",
    label="Original, retrained",
    shows="the images as they are, in a second training that starts from the first model's weights",
    purpose="shows whether a second training alone helps",
    role=Control(
        verdict="second training",
        words="a second training without masks performs as well",
        required="if training goes on",
    ),
    view="image",
    goes_on=True,
    presets=("controls", "demo", "full"),
)
