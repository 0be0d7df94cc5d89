"""Images, masks and heat maps as pictures: JPEG and, for masks, PNG, as data URIs."""

import io

import matplotlib
import numpy as np
from PIL import Image

from osteo_ray.report.style import to_uri

PANEL_PX = 224
PANEL_LABELS = ("Original", "LIME region", "LIME mask", "Random mask", "Silhouette", "Grad-CAM")
PANEL_ARMS = {"Random mask": "random_mask", "Silhouette": "silhouette"}
"""The arms of those panels that show what a control is shown."""
_OUTLINE = (255, 176, 0)  # amber: stands out from gray with every kind of colour vision


def draw_panels(
    image: np.ndarray,
    lime_mask: np.ndarray | None,
    random_mask: np.ndarray | None,
    heatmap: np.ndarray | None,
) -> list[tuple[str, str | None]]:
    """Show one image as each arm and each explanation shows it, as `compose_panels` does.

    Returns:
        Pairs of a name from `PANEL_LABELS` and a data URI, or None if its source is missing.
    """
    panels = compose_panels(image, lime_mask, random_mask, heatmap)
    return [(name, None if one is None else encode_picture(one)) for name, one in panels.items()]


def compose_panels(
    image: np.ndarray,
    lime_mask: np.ndarray | None,
    random_mask: np.ndarray | None,
    heatmap: np.ndarray | None,
) -> dict[str, np.ndarray | None]:
    """Compose one image as each arm and each explanation shows it.

    Args:
        image: uint8, (size, size); 0 = black.
        lime_mask: bool, (size, size), True = kept; None if there is no mask.
        random_mask: The same for the control arm.
        heatmap: uint8, (size, size); larger values support the explained class more.

    Returns:
        By name from `PANEL_LABELS`, uint8, (`PANEL_PX`, `PANEL_PX`) or (…, 3), or bool for the
        silhouette; None if its source is missing.
    """
    gray = _resize(image, Image.Resampling.BICUBIC)
    panels: dict[str, np.ndarray | None] = dict.fromkeys(PANEL_LABELS)
    panels["Original"] = gray
    if lime_mask is not None:
        lime = _resize(lime_mask, Image.Resampling.NEAREST)
        outlined = np.repeat(gray[..., None], 3, axis=2)
        outlined[_find_edge(lime)] = _OUTLINE
        panels["LIME region"] = outlined
        panels["LIME mask"] = gray * lime
        panels["Silhouette"] = lime
    if random_mask is not None:
        control = _resize(random_mask, Image.Resampling.NEAREST)
        panels["Random mask"] = gray * control
    if heatmap is not None and heatmap.any():  # one without a hot pixel explains nothing
        heat = _resize(heatmap, Image.Resampling.BICUBIC) / 255.0
        colours = 255 * matplotlib.colormaps["inferno"](0.15 + 0.85 * heat)[..., :3]
        blend = gray[..., None] + 0.65 * heat[..., None] * (colours - gray[..., None])
        panels["Grad-CAM"] = blend.round().astype(np.uint8)
    return panels


def encode_picture(pixels: np.ndarray) -> str:
    """Return a picture as a data URI.

    Args:
        pixels: bool, (height, width), True = white, becomes a PNG; uint8, (height, width) or
            (height, width, 3), becomes a JPEG.
    """
    buffer = io.BytesIO()
    if pixels.dtype == bool:
        Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
        return to_uri("image/png", buffer.getvalue())
    Image.fromarray(pixels).save(buffer, "JPEG", quality=88, subsampling=0)
    return to_uri("image/jpeg", buffer.getvalue())


def _find_edge(mask: np.ndarray) -> np.ndarray:
    """Return the pixels on either side of a mask's edge, bool, of the mask's shape."""
    edge = np.zeros_like(mask)
    for axis in (0, 1):
        change = np.diff(mask, axis=axis)
        pad = [(0, 0), (0, 0)]
        for pad[axis] in ((0, 1), (1, 0)):
            edge |= np.pad(change, pad)
    return edge


def _resize(pixels: np.ndarray, resampling: Image.Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((PANEL_PX, PANEL_PX), resampling))
