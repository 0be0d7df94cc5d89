"""The regions of a run: whether its arms have what they need, and how they come into the run."""

import hashlib

import pyarrow as pa

from osteo_ray.arms.registry import ARMS
from osteo_ray.base.digests import write_record
from osteo_ray.base.errors import InputError
from osteo_ray.base.paths import PHANTOM
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import REGIONS, read_table, write_table
from osteo_ray.config.compare import CompareConfig
from osteo_ray.data.regions.given import (
    GivenRegions,
    find_regions,
    read_named_regions,
    read_regions,
)
from osteo_ray.data.settings import PhantomSettings
from osteo_ray.data.sources.listing import Source


def check_region_arms(config: CompareConfig, run: Run, source: Source | PhantomSettings) -> None:
    """Refuse arms that show regions if there will be none.

    Raises:
        InputError: An arm needs regions.
    """
    needing = [arm for arm in config.arms if ARMS[arm].shows_regions]
    if not needing or config.regions or run.regions.is_file():
        return
    if isinstance(source, Source):
        there = bool(source.regions)
    else:  # a run by an earlier version may have lost the phantoms that it was made from
        there = not run.config.exists() or (run.phantom / "regions").is_dir()
    if not there:
        raise InputError(
            f"Expected regions for {' and '.join(needing)}, but neither {config.data} nor the run "
            f"{run.root} has any. Give them by --regions, a folder with a PNG mask for each image "
            f"or a COCO file, or leave {'it' if len(needing) == 1 else 'them'} out of --arms."
        )


def read_given(config: CompareConfig, source: Source | PhantomSettings) -> GivenRegions | None:
    """Read the regions that the user gives with the images; None if there are none.

    Those of phantoms are drawn with the images, and are not read here.

    Raises:
        InputError: An image has no region, or one that cannot be used.
    """
    if isinstance(source, PhantomSettings):
        return None
    paths = source.items["path"].tolist()
    if config.regions:
        return read_regions(config.regions, paths, config.image_size, cut=_is_cut(source))
    if source.regions:
        return read_named_regions(
            source.uri, source.reader, source.regions, paths, config.image_size
        )
    return None


def check_given(config: CompareConfig, source: Source | PhantomSettings) -> None:
    """Check that `--regions` has a region for each image, as far as names tell; decode none.

    Raises:
        InputError: There is no such place, or an image has no region.
    """
    if config.regions and not isinstance(source, PhantomSettings):
        find_regions(config.regions, source.items["path"].tolist(), cut=_is_cut(source))


def _is_cut(source: Source) -> bool:
    """Tell whether films of both knees become two images each."""
    return source.laterality == "split"


def store_regions(run: Run, config: CompareConfig, given: GivenRegions | None) -> None:
    """Keep regions in a run that has its images; a run that has regions already keeps them.

    Args:
        run: The run.
        config: Its configuration.
        given: What `read_given` returned. If there is none, phantoms bring their own.

    Raises:
        InputError: A region has another size than its image, or is not the one that the run has.
    """
    known = run.regions.is_file()
    if given is None and (known or config.data != PHANTOM):
        return
    table = read_table(run.images, ["image_id", "path", "width", "height"])
    images = table.to_pylist()
    if given is None:
        drawn = run.phantom / "regions"
        if not drawn.is_dir():
            return
        given = read_regions(str(drawn), table["path"].to_pylist(), config.image_size)
    sizes = {row["path"]: (row["width"], row["height"]) for row in images}
    if config.laterality == "split":
        given = given.cut_halves(sizes)
    given.check_sizes(sizes)
    packed = {row["image_id"]: given.regions[row["path"]].packed for row in images}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in packed.items()}
    if known:
        _check_same(run, given, digests)
        return
    columns = [list(packed), list(digests.values()), list(packed.values())]
    write_table(run.regions, pa.table(columns, schema=REGIONS), how=write_record)


def _check_same(run: Run, given: GivenRegions, digests: dict[str, str]) -> None:
    stored = read_table(run.regions, ["image_id", "digest"]).to_pylist()
    changed = sum(digests.get(row["image_id"]) != row["digest"] for row in stored)
    if changed:
        raise InputError(
            f"Expected the regions in {given.uri} to be those that the run {run.root} has, but "
            f"{changed} of {len(stored)} have changed. Choose another --out."
        )
