"""The sites of a comparison: where an image is from, and whether each site can be left out."""

import numpy as np
import pandas as pd

from osteo_ray.base.errors import InputError
from osteo_ray.config.compare import CompareConfig
from osteo_ray.data.settings import PhantomSettings
from osteo_ray.data.sources.layouts import is_dicom_name
from osteo_ray.data.sources.listing import Source
from osteo_ray.data.splits.sites import (
    check_site_groups,
    check_site_seeds,
    check_sites,
    read_site,
)


def place_images(images: pd.DataFrame, level: int | None) -> pd.DataFrame:
    """Return a table of images whose `site` is read from their paths, if a level is given.

    Args:
        images: path and site, and any other columns.
        level: As in the configuration.
    """
    if level is None:
        return images
    return images.assign(site=[read_site(path, level) for path in images["path"]])


def check_listed_sites(config: CompareConfig, source: Source | PhantomSettings) -> None:
    """Refuse a source whose sites cannot be left out, as far as that is known before reading.

    Raises:
        InputError: See `data.splits.sites`; or the images are phantoms.
    """
    if config.split != "site":
        return
    if isinstance(source, PhantomSettings):
        raise InputError(
            "Expected images with sites, as --split site asks, but phantoms have none. Give --data "
            "with images from several sites, or use --split grouped."
        )
    items = place_images(source.items, config.site_level)
    if config.site_level is None and any(map(is_dicom_name, items["path"][items["site"] == ""])):
        return  # their headers may name it
    _check(config, items)


def check_read_sites(config: CompareConfig, images: pd.DataFrame) -> None:
    """Refuse images whose sites cannot be left out one at a time.

    Args:
        config: Configuration of the comparison.
        images: path, label, group and site of the images that are used.

    Raises:
        InputError: See `data.splits.sites`.
    """
    _check(config, images)
    sites, labels = (images[name].to_numpy(str) for name in ("site", "label"))
    check_site_groups(sites, labels, images["group"].to_numpy())


def count_sites(config: CompareConfig, source: Source) -> int | None:
    """Count the sites of a listed source; None where reading alone can tell."""
    sites = place_images(source.items, config.site_level)["site"]
    return sites.nunique() if config.split == "site" and (sites != "").all() else None


def state_sites(images: pd.DataFrame, config: CompareConfig) -> str:
    """Say which seeds test which site.

    Args:
        images: The images table of a run.
        config: Configuration of the comparison.
    """
    counts = images.loc[images["used"], "site"].value_counts().sort_index()
    names = counts.index.tolist()
    told = [
        f"{name} ({count} images) by seed{'s' if config.seeds > len(names) else ''} "
        + ", ".join(str(seed) for seed in config.seed_numbers if seed % len(names) == place)
        for place, (name, count) in enumerate(counts.items())
    ]
    return f"Sites are tested in turn: {'; '.join(told)}"


def _check(config: CompareConfig, images: pd.DataFrame) -> None:
    sites, labels = (images[name].to_numpy(str) for name in ("site", "label"))
    check_sites(sites, labels, images["path"].tolist())
    check_site_seeds(len(np.unique(sites)), config.seeds, config.first_seed)
