"""The height and width to which the images of a run are resized."""

import re
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

_LEAST_PX = 32
_FORM = re.compile(r"\s*([0-9]{1,9})\s*(?:[xX×]\s*([0-9]{1,9})\s*)?")


@dataclass(frozen=True)
class ImageSize:
    """A height and a width, in pixels; images are stretched to it, whatever their aspect ratio.

    In text and in files, a square is one number, and everything else HEIGHTxWIDTH.

    Attributes:
        height: Number of rows.
        width: Number of columns.
    """

    height: int
    width: int

    @classmethod
    def square(cls, side: int) -> Self:
        """Return the size of square images."""
        return cls(side, side)

    @classmethod
    def read(cls, given: Any) -> Self:
        """Read a size as people and files write it.

        Args:
            given: A whole number, for squares; a height and a width; or either as text.

        Raises:
            ValueError: It is neither, or has fewer than 32 pixels one way.

        Example:
            >>> ImageSize.read("320x256").shape, ImageSize.read(128).shape
            ((320, 256), (128, 128))
            >>> str(ImageSize.read([320, 256])), str(ImageSize.read("128x128"))
            ('320x256', '128')
        """
        if isinstance(given, cls):
            return given
        parts: Sequence[Any] = given if isinstance(given, list | tuple) else (given, given)
        if isinstance(given, str) and (found := _FORM.fullmatch(given)):
            parts = int(found[1]), int(found[2] or found[1])
        if len(parts) != 2 or any(type(part) is not int for part in parts):
            shown = f"`{given[:40]}`" if isinstance(given, str) else reprlib.repr(given)
            raise ValueError(
                "Expected an image size as a number of pixels (224, for squares) or as "
                f"HEIGHTxWIDTH (320x256: 320 px high, 256 px wide), but got {shown}."
            )
        if min(parts) < _LEAST_PX:
            raise ValueError(
                f"Expected an image size of at least {_LEAST_PX} pixels each way, but got "
                f"{cls(*parts)}."
            )
        return cls(*parts)

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the array of an image: (height, width)."""
        return self.height, self.width

    @property
    def is_square(self) -> bool:
        """Whether images are as high as they are wide."""
        return self.height == self.width

    @property
    def area_px(self) -> int:
        """The number of pixels of an image."""
        return self.height * self.width

    @property
    def longer_px(self) -> int:
        """The longer of height and width, which lengths are measured by."""
        return max(self.shape)

    @property
    def written(self) -> int | str:
        """What stands for it in files and keys: a number for a square, else HEIGHTxWIDTH."""
        return self.height if self.is_square else str(self)

    @property
    def plain(self) -> int | tuple[int, int]:
        """What networks are given that ask for it: a number for a square, else height and width."""
        return self.height if self.is_square else self.shape

    def __str__(self) -> str:
        return str(self.height) if self.is_square else f"{self.height}x{self.width}"

    def tell(self) -> str:
        """Say how high and wide the images are.

        Example:
            >>> ImageSize(320, 256).tell()
            '320 px high, 256 px wide'
        """
        return f"{self.height} px high, {self.width} px wide"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.read,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda size: size.written
            ),
        )
