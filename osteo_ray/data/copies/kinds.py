"""Which kinds of copies can be seen, in words; docs/data.md has the shares that were measured."""

KINDS_FOUND = (
    "Copies are found whatever their size, proportions, encoding and brightness, mirrored, upside "
    "down, turned by quarters or a few degrees, in inverted gray, and cropped by up to a tenth at "
    "each side."
)
KINDS_MISSED = (
    "Not all are found that are cropped further, lie in a wide frame, have their background set to "
    "zero or their histogram equalized; most centers of images and all halves of films of both "
    "knees are missed."
)
