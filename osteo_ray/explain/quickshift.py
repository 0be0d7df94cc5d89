"""Quickshift (Vedaldi & Soatto 2008) of gray images, with the labels of scikit-image.

Each pixel is a point (row, column, colour). It is joined to the nearest pixel of higher density
within a window; the trees that arise so are the superpixels. scikit-image visits the whole window
of each pixel twice. Here the densities are sums of separable blurs, since the likeness of 256 gray
values is a matrix of low rank, and the window is searched from its centre outwards, for as long as
a nearer pixel may still be found.
"""

import math
from functools import lru_cache
from itertools import groupby

import numpy as np
import torch
from skimage.color import gray2rgb, rgb2lab

_SMALLEST = 1e-15  # relative size of a component that makes no difference in double precision
_NOISE = 1e-5  # standard deviation of the noise that decides between equal densities
_NOISE_SEED = 42  # scikit-image's default
_BLOCK = 32  # rows that are blurred at a time
_WIDTHS = 3  # radius of the window, in kernel sizes


def divide_by_quickshift(
    image: np.ndarray, *, kernel_size: float, max_dist: float, ratio: float
) -> np.ndarray:
    """Divide a gray image as `skimage.segmentation.quickshift` divides `gray2rgb(image)`.

    Args:
        image: uint8, (height, width).
        kernel_size: Standard deviation of the kernel that measures densities, in pixels.
        max_dist: The longest way to a pixel of higher density that joins two pixels.
        ratio: How much a difference in colour (CIE Lab) counts beside one in place.

    Returns:
        int64, (height, width), numbered from 0 without gaps.
    """
    gray = torch.from_numpy(image.astype(np.int64))
    radius = min(math.ceil(_WIDTHS * kernel_size), max(image.shape))  # beyond, there is nothing
    density = _measure_density(gray, kernel_size, ratio, radius)
    noise = np.random.default_rng(_NOISE_SEED).normal(scale=_NOISE, size=image.shape)
    density += torch.from_numpy(noise)
    parent = _find_parents(gray, density, _tabulate_distances(ratio), radius, max_dist)
    while not torch.equal(parent, parent[parent]):
        parent = parent[parent]
    labels: np.ndarray = torch.unique(parent, return_inverse=True)[1].view(gray.shape).numpy()
    return labels


def _measure_density(
    gray: torch.Tensor, kernel_size: float, ratio: float, radius: int
) -> torch.Tensor:
    """Sum, for each pixel, its likeness to all pixels in its window: float64, (height, width)."""
    strengths, components = _factorise_likeness(kernel_size, ratio)
    features = components.T[:, gray]
    blurred = _blur_down(features, kernel_size, radius)
    blurred = _blur_down(blurred.mT, kernel_size, radius).mT
    return torch.einsum("r,rhw,rhw->hw", strengths, features, blurred)


def _blur_down(stack: torch.Tensor, kernel_size: float, radius: int) -> torch.Tensor:
    """Sum along the columns of images, weighted by nearness: float64, (n, height, width)."""
    places = torch.arange(stack.shape[1])
    distance = (places[:, None] - places).abs()
    weights = torch.exp(distance.double() ** 2 / (-2 * kernel_size**2)) * (distance <= radius)
    blurred = []
    for start in range(0, len(places), _BLOCK):  # the other rows weigh nothing
        near = slice(max(0, start - radius), start + _BLOCK + radius)
        blurred.append(weights[start : start + _BLOCK, near] @ stack[:, near])
    return torch.cat(blurred, 1)


@lru_cache(maxsize=8)
def _tabulate_distances(ratio: float) -> torch.Tensor:
    """Return the squared distance between the colours of gray values: float64, (256, 256).

    It has the bits that scikit-image computes, which decide where two ways are equally long.
    """
    lab = torch.from_numpy(rgb2lab(gray2rgb(np.arange(256, dtype=np.uint8)[None]))[0] * ratio)
    lightness, a, b = ((lab[:, None] - lab) ** 2).unbind(-1)
    return lightness + a + b


@lru_cache(maxsize=8)
def _factorise_likeness(kernel_size: float, ratio: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return strengths (rank,) and components (256, rank) of the likeness of gray values."""
    likeness = torch.exp(_tabulate_distances(ratio) / (-2 * kernel_size**2))
    strengths, components = torch.linalg.eigh(likeness)
    needed = strengths > _SMALLEST * strengths[-1]
    return strengths[needed], components[:, needed]


def _find_parents(
    gray: torch.Tensor,
    density: torch.Tensor,
    distances: torch.Tensor,
    radius: int,
    max_dist: float,
) -> torch.Tensor:
    """Find the nearest pixel of higher density; the first in reading order where several are.

    Args:
        gray: int64, (height, width).
        density: float64, (height, width).
        distances: Squared distances of colours, as `_tabulate_distances` returns them.
        radius: Half the side of the window, in pixels.
        max_dist: What is farther counts as absent.

    Returns:
        int64, (height * width,); the number of a pixel, its own where there is none.
    """
    height, width = gray.shape
    colours = distances.ravel()
    margin = (radius,) * 4  # of pixels that are denser than none
    gray = torch.nn.functional.pad(gray, margin).ravel()
    density = torch.nn.functional.pad(density, margin, value=-math.inf).ravel()
    stride = width + 2 * radius
    rows, columns = torch.arange(height), torch.arange(width)
    # Of the pixels that still look for a parent: number, place, density, and row of `colours`.
    own = torch.arange(height * width)
    place = ((rows[:, None] + radius) * stride + columns + radius).ravel()
    dense, tone = density[place], gray[place] * 256
    parent, nearest = own.clone(), torch.full_like(dense, math.inf)
    found, way = parent.clone(), nearest.clone()
    for reach, ring in groupby(_list_steps(radius), key=lambda step: step[0]):
        searching = nearest > reach
        if searching.count_nonzero() < 0.9 * len(own):  # copying costs as much as some steps
            found[own], way[own] = parent, nearest
            own, place, dense, tone = (one[searching] for one in (own, place, dense, tone))
            parent, nearest = parent[searching], nearest[searching]
        if not len(own):
            break
        for _, down, right in ring:
            there, other = place + (down * stride + right), own + (down * width + right)
            distance = colours[tone + gray[there]] + down * down + right * right
            better = (density[there] > dense) & (distance < nearest)
            nearest = torch.where(better, distance, nearest)
            parent = torch.where(better, other, parent)
    found[own], way[own] = parent, nearest
    return torch.where(way.sqrt() > max_dist, torch.arange(len(found)), found)


def _list_steps(radius: int) -> list[tuple[int, int, int]]:
    """List the ways to all other pixels of a window: (length², down, right).

    They are sorted by length, and those of equal length in reading order. Ways of different lengths
    to equally distant points do not occur, as no difference of two colours is a whole number.
    """
    reach = range(-radius, radius + 1)
    steps = [(down**2 + right**2, down, right) for down in reach for right in reach]
    return sorted(steps)[1:]
