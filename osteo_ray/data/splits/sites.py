"""Leave one site out: each site is the test set in turn, and no image of it is trained on."""

from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from osteo_ray.base.errors import InputError
from osteo_ray.data.copies.groups import number_groups

_ADVICE = "Merge small sites in the source, leave this one out, or use --split grouped."


def read_site(path: str, level: int) -> str:
    """Return the folder of a path that names its site; "" if the path has too few folders.

    Args:
        path: Path of an image within its source, with `/` between folders.
        level: Number of the folder, from 1 at the top.

    Example:
        >>> read_site("normal/clinic-a/1.png", 2), read_site("normal/1.png", 2)
        ('clinic-a', '')
    """
    folders = PurePosixPath(path).parts[:-1]
    return folders[level - 1] if len(folders) >= level else ""


def check_sites(sites: np.ndarray, labels: np.ndarray, paths: Sequence[str]) -> None:
    """Refuse a set whose sites cannot be left out one at a time.

    Args:
        sites: str (n,); the site of each image, empty if unknown.
        labels: str (n,); the class of each image.
        paths: n names by which the user knows the images.

    Raises:
        InputError: An image has no site, there is a single site, or a site lacks a class.

    Example:
        >>> check_sites(np.array(list("aabb")), np.array(list("xyxy")), ["1", "2", "3", "4"])
    """
    unknown = np.flatnonzero(sites == "")
    if len(unknown):
        raise InputError(
            f"Expected each image to have a site, as --split site asks, but {len(unknown)} of "
            f"{len(sites)} have none, such as {paths[unknown[0]]}. Give the column `site` of a "
            "manifest, DICOM files with InstitutionName, or --site-level for the folder that names "
            "the site."
        )
    names = np.unique(sites)
    if len(names) < 2:
        raise InputError(
            f"Expected images of at least two sites, as --split site asks, but all are of "
            f"`{names[0]}`. Add images from elsewhere, or use --split grouped."
        )
    for name in names:
        missing = sorted(set(labels) - set(labels[sites == name]))
        if missing:
            raise InputError(
                f"Expected images of each class from each site, as it is tested on its own, but "
                f"the site `{name}` has none of class `{missing[0]}`. {_ADVICE}"
            )


def check_site_groups(sites: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> None:
    """Refuse a set in which too little is left to learn from once a site is left out.

    Args:
        sites: str (n,); the site of each image.
        labels: str (n,); the class of each image.
        groups: int (n,); images that belong together.

    Raises:
        InputError: Without a site, and what belongs with it, a class has fewer than two groups: one
            for training and one for validation.
    """
    for name in np.unique(sites):
        left = ~find_held_out(sites, groups, name)
        for label in np.unique(labels):
            n_groups = len(np.unique(groups[left & (labels == label)]))
            if n_groups < 2:
                raise InputError(
                    f"Expected at least 2 images of class `{label}` outside the site `{name}` to "
                    f"learn from, but found {n_groups} (images that belong together count once, "
                    f"and those that belong with images of the site are left out). {_ADVICE}"
                )


def check_site_seeds(n_sites: int, n_seeds: int, first_seed: int) -> None:
    """Refuse a number of seeds with which some sites would be tested more often than others.

    Raises:
        InputError: The number of seeds, or of the first, is not a multiple of that of sites.
    """
    if n_seeds % n_sites or first_seed % n_sites:
        fitting = max(n_sites, round(n_seeds / n_sites) * n_sites)
        raise InputError(
            f"Expected --seeds and --first-seed to be multiples of {n_sites}, the number of sites, "
            f"so that each is tested equally often, but got {n_seeds} seeds, the first of which is "
            f"{first_seed}. Choose --seeds {fitting}."
        )


def find_held_out(sites: np.ndarray, groups: np.ndarray, name: str) -> np.ndarray:
    """Tell which images may not be learned from while a site is tested.

    Args:
        sites: str (n,); the site of each image.
        groups: int (n,); images that belong together.
        name: The site.

    Returns:
        bool (n,); True for the images of the site, and for images of other sites that are copies
        of them or of the same patients.
    """
    numbers = number_groups(groups)
    return np.asarray(np.isin(numbers, numbers[sites == name]))
