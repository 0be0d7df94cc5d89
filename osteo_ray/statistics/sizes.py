"""How many images a seed trains on and is tested on, which the correction of tests needs."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Images per seed; means over seeds where these differ.

    Splits of different seeds share images, so their results are correlated. Nadeau and Bengio
    ("Inference for the generalization error", 2003) take the correlation of two seeds to be
    n_test / (n_test + n_train), which adds `ratio` to 1/J in the variance of a mean over J seeds.

    Attributes:
        n_test: Test images per seed, at least 0; 0 leaves the correction out.
        n_train: Training images per seed, above 0.

    Raises:
        ValueError: A number is out of its range.

    Example:
        >>> Sizes(n_test=20, n_train=80).ratio
        0.25
    """

    n_test: float
    n_train: float

    def __post_init__(self) -> None:
        if not (self.n_test >= 0 and self.n_train > 0):
            raise ValueError(
                "Expected `n_test` of at least 0 and `n_train` above 0, but got "
                f"{self.n_test}, {self.n_train}."
            )

    @property
    def ratio(self) -> float:
        """Test images per training image."""
        return self.n_test / self.n_train
