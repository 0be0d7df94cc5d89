"""Images, from what `--data` names to splits that no copy crosses.

Its folders use each other in one direction only, from left to right:

    splits → copies → decoding        sources → decoding        phantoms

`sources` lists images and fetches their bytes, `decoding` turns bytes into grayscale images,
`copies` recognizes images that show one radiograph, `splits` divides images into sets, `phantoms`
draws synthetic ones, and `regions` reads the regions that were given with images. Beside them,
`masks` defines what a keep-mask is, `imputation` fills what one removes, `fresh_masks` draws random
ones anew in each epoch, `appearance` describes an image apart from its anatomy, `shortcuts` (above
all folders) measures how well that alone predicts the label, and `settings` (below all) holds words
and settings.
"""
