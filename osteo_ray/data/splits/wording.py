"""How images were divided, and why some were set aside, in words that hold for each kind."""

from osteo_ray.data.settings import ConflictPolicy, SplitKind

_ASIDE: dict[ConflictPolicy, str] = {
    "drop": "they have copies in another class",
    "majority": "their copies have no class in the majority",
}


def word_split(kind: SplitKind, ratio: tuple[int, int, int], folds: int | None) -> str:
    """Say how the images of a run are divided, as a clause without capital and full stop.

    Args:
        kind: The kind of split.
        ratio: Shares of training, validation and test.
        folds: Number of folds; None for single splits.

    Example:
        >>> word_split("given", (7, 2, 1), None)
        'the source says which images are for training, validation and test, the same for all seeds'
    """
    if kind == "given":
        return (
            "the source says which images are for training, validation and test, the same for all "
            "seeds"
        )
    both = f"training and validation as {ratio[0]} : {ratio[1]}"
    if kind == "site":
        return (
            "each seed tests all images of one site, and the sites take turns; those of the other "
            f"sites are dealt into {both}, stratified by class, but for copies of tested images "
            "and images of their patients, which are set aside"
        )
    if kind == "random":
        dealt = "images, each on its own and whatever its copies and its patient, are"
    else:
        dealt = "groups of images (copies of one radiograph, exact or near, or one patient's) are"
    if folds is not None:
        return (
            f"{dealt} dealt into {folds} folds of equal size, stratified by class, anew for every "
            f"{folds} seeds, each of which tests another fold; the others are dealt into {both}"
        )
    shares = " : ".join(map(str, ratio))
    return (
        f"{dealt} dealt into training, validation and test as {shares}, stratified by class, anew "
        "for each seed"
    )


def word_disjoint(kind: SplitKind) -> str:
    """Say what no two parts of a split share, as a phrase.

    Example:
        >>> word_disjoint("random")
        'image only: copies and patients may be on both sides'
    """
    if kind == "random":
        return "image only: copies and patients may be on both sides"
    known = "patient, and copies of one radiograph, as far as both are known"
    return f"{known}; test images also by site" if kind == "site" else known


def word_balance(kind: SplitKind) -> str:
    """Say how parts of a split come by their shares of the classes, as a clause.

    Example:
        >>> word_balance("grouped")
        'splits are stratified by class'
    """
    if kind == "given":
        return "the split of the source is taken as it is"
    if kind == "site":
        return "training and validation are stratified by class, and test images are all of a site"
    return "splits are stratified by class"


def list_aside(kind: SplitKind, policy: ConflictPolicy) -> list[str]:
    """List why images may belong to no part of a split, each as a clause that follows `because`.

    Args:
        kind: The kind of split.
        policy: What becomes of copies with different labels.

    Example:
        >>> list_aside("grouped", "drop"), list_aside("random", "keep")
        (['they have copies in another class'], [])
    """
    found = [_ASIDE[policy]] if policy in _ASIDE else []
    if kind == "site":
        found.append(
            "they are copies of images of the tested site, or of its patients, but come from "
            "another site"
        )
    elif kind == "given":
        found.append("the source names no part of the split for them")
    return found
