"""Which kinds of copies can be seen, in words; docs/data.md has the shares that were measured."""

KINDS_FOUND = (
    "Copies are found whatever their size, proportions, encoding and brightness, mirrored, upside "
    "down, turned by quarters or a few degrees, in inverted gray, cropped by up to 15 % at each "
    "side or 20 % at one, in a frame of up to 15 %, and with their background set to zero."
)
KINDS_MISSED = (
    "About one in ten is missed of those that lie in a wider frame, have their histogram "
    "equalized, or were segmented twice; so are more than half of the centers of images and of the "
    "halves of films of both knees."
)
