"""The weights from which the first training of a model starts."""

from dataclasses import dataclass

from osteo_ray.base.storage import digest_file, locate


@dataclass(frozen=True)
class FirstWeights:
    """The weights from which the first training of a model starts.

    Attributes:
        file: A safetensors file, `none` for random weights, or None for those of the hub.
        fingerprint: Hash of the file, or `none`, or `hub`.
    """

    file: str | None
    fingerprint: str

    @classmethod
    def of(cls, file: str | None) -> "FirstWeights":
        """Identify weights by their content.

        Raises:
            OSError: The file cannot be read.
        """
        if file is None or file == "none":
            return cls(file, file or "hub")
        return cls(file, digest_file(locate(file)))
