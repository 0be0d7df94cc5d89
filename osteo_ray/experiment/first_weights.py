"""What the first training of a model starts from."""

import hashlib
from dataclasses import dataclass

from osteo_ray.base.errors import InputError
from osteo_ray.base.networks import read_reference
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import digest_file, locate
from osteo_ray.config.compare import CompareConfig


@dataclass(frozen=True)
class FirstWeights:
    """The weights from which the first training of a model starts.

    Attributes:
        file: A weights file, `none` for random weights, or None for those of the hub.
        fingerprint: Hash of the file, or `none`, or `hub`; and the hash of the code, if any.
        code: The text of the Python file, if the network is one of a user.
    """

    file: str | None
    fingerprint: str
    code: str | None = None

    @classmethod
    def of(cls, file: str | None, code: str | None = None) -> "FirstWeights":
        """Identify weights and code by their content.

        Raises:
            OSError: The file cannot be read.
        """
        fingerprint = file or "hub"
        if fingerprint not in ("none", "hub"):
            fingerprint = digest_file(locate(fingerprint))
        if code is not None:
            fingerprint += f" {hashlib.sha256(code.encode()).hexdigest()}"
        return cls(file, fingerprint, code)


def describe_first_weights(run: Run, config: CompareConfig) -> dict[str, FirstWeights]:
    """Return the first weights of each model, and the code of those networks that a run keeps.

    Raises:
        InputError: The run lacks the code of a network.
        OSError: A file of first weights cannot be read.
    """
    return {
        name: FirstWeights.of(file, read_code(run, name))
        for name, file in config.first_weights.items()
    }


def read_code(run: Run, name: str) -> str | None:
    """Return the text of the file of a network, as a run keeps it; None if it has no file.

    Raises:
        InputError: The run lacks the file.
    """
    reference = read_reference(name)
    if reference is None:
        return None
    place = run.networks / reference.file
    if not place.is_file():
        raise InputError(
            f"Expected the code of the network `{name}` in {place}, where `osteo-ray compare` "
            "stores it, but there is none. Put the file back."
        )
    return place.read_text(encoding="utf-8")
