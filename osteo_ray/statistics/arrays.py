"""Types of the arrays that statistics pass around."""

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
Weights = npt.NDArray[np.uint8]
"""How often an image, or a group of images, counts in each bootstrap sample."""
