"""Images, masks and heat maps as pictures: JPEG and, for masks, PNG, as data URIs."""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from PIL import Image

from osteo_ray.report.style import to_uri

PANEL_PX = 224
"""The longer side of a panel."""
PANEL_LABELS = (
    *("Original", "Superpixels", "Weights", "LIME region", "LIME mask", "Random mask"),
    *("Silhouette", "Grad-CAM"),
)
PANEL_ARMS = {"Random mask": "random_mask", "Silhouette": "silhouette"}
"""The arms of those panels that show what a control is shown."""
_OUTLINE = (255, 176, 0)  # amber: stands out from gray with every kind of colour vision
_FOR, _AGAINST = np.array([46, 134, 193]), np.array(_OUTLINE)


def draw_panels(image: np.ndarray, *sources: Any, **more: Any) -> list[tuple[str, str | None]]:
    """Show one image as each arm and each explanation shows it; takes what `compose_panels` does.

    Returns:
        Pairs of a name from `PANEL_LABELS` and a data URI, or None if its source is missing.
    """
    panels = compose_panels(image, *sources, **more)
    return [(name, None if one is None else encode_picture(one)) for name, one in panels.items()]


def compose_panels(
    image: np.ndarray,
    lime_mask: np.ndarray | None,
    random_mask: np.ndarray | None,
    heatmap: np.ndarray | None,
    *,
    region: np.ndarray | None = None,
    superpixels: np.ndarray | None = None,
    weights: Sequence[float] | None = None,
) -> dict[str, np.ndarray | None]:
    """Compose one image as each arm and each explanation shows it.

    Args:
        image: uint8, (height, width); 0 = black.
        lime_mask: bool, (height, width), True = kept; None if there is no mask.
        random_mask: The same for the control arm.
        heatmap: uint8, (height, width); larger values support the explained class more.
        region: bool, (height, width), True = hot; outlined where there is no heat map.
        superpixels: uint16, (height, width); the superpixel of each pixel, numbered from 0.
        weights: Of each superpixel; above 0 where it speaks for the explained class.

    Returns:
        By name from `PANEL_LABELS`, uint8, (height, width) or (…, 3), or bool for the silhouette;
        the longer side is `PANEL_PX`. None if its source is missing.
    """
    gray = _resize(image, Image.Resampling.BICUBIC)
    panels: dict[str, np.ndarray | None] = dict.fromkeys(PANEL_LABELS)
    panels["Original"] = gray
    if superpixels is not None:
        pieces = _resize(superpixels.astype(np.int32), Image.Resampling.NEAREST)
        panels["Superpixels"] = _outline(gray, _find_edge(pieces))
        if weights is not None and len(weights) > superpixels.max():
            panels["Weights"] = _tint(gray, np.asarray(weights, float)[pieces])
    if lime_mask is not None:
        lime = _resize(lime_mask, Image.Resampling.NEAREST)
        panels["LIME region"] = _outline(gray, _find_edge(lime))
        panels["LIME mask"] = gray * lime
        panels["Silhouette"] = lime
    if random_mask is not None:
        panels["Random mask"] = gray * _resize(random_mask, Image.Resampling.NEAREST)
    if heatmap is not None and heatmap.any():  # one without a hot pixel explains nothing
        heat = _resize(heatmap, Image.Resampling.BICUBIC) / 255.0
        colours = 255 * matplotlib.colormaps["inferno"](0.15 + 0.85 * heat)[..., :3]
        panels["Grad-CAM"] = _blend(gray, colours, 0.65 * heat)
    elif region is not None and heatmap is None:
        hot = _resize(region, Image.Resampling.NEAREST)
        panels["Grad-CAM"] = _outline(gray, _find_edge(hot))
    return panels


def _outline(gray: np.ndarray, edge: np.ndarray) -> np.ndarray:
    outlined = np.repeat(gray[..., None], 3, axis=2)
    outlined[edge] = _OUTLINE
    return outlined


def _tint(gray: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Tint an image blue where weights are above 0, and amber where they are below."""
    strength = np.abs(weights) / max(float(np.abs(weights).max()), 1e-12)
    colours = np.where(weights[..., None] >= 0, _FOR, _AGAINST)
    return _blend(gray, colours, 0.75 * strength)


def _blend(gray: np.ndarray, colours: np.ndarray, share: np.ndarray) -> np.ndarray:
    blend = gray[..., None] + share[..., None] * (colours - gray[..., None])
    rounded: np.ndarray = blend.round().astype(np.uint8)
    return rounded


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
    Image.fromarray(pixels).save(buffer, "JPEG", quality=82, subsampling=0)
    return to_uri("image/jpeg", buffer.getvalue())


def _find_edge(mask: np.ndarray) -> np.ndarray:
    """Return the pixels on either side of an edge between values, bool, of the same shape."""
    edge = np.zeros(mask.shape, bool)
    for axis in (0, 1):
        change = np.diff(mask, axis=axis) != 0
        pad = [(0, 0), (0, 0)]
        for pad[axis] in ((0, 1), (1, 0)):
            edge |= np.pad(change, pad)
    return edge


def _resize(pixels: np.ndarray, resampling: Image.Resampling) -> np.ndarray:
    height, width = (round(PANEL_PX * side / max(pixels.shape)) for side in pixels.shape)
    return np.asarray(Image.fromarray(pixels).resize((width, height), resampling))
