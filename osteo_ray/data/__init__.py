"""Images, from what `--data` names to splits that no copy crosses.

Its folders use each other in one direction only, from left to right:

    splits → copies → decoding        sources → decoding        phantoms

`sources` lists images and fetches their bytes, `decoding` turns bytes into grayscale images,
`copies` recognizes images that show one radiograph, `splits` divides images into sets, `phantoms`
draws synthetic ones, and `regions` reads the regions that were given with images. Beside them,
`laterality` finds films of both knees and cuts them, `masks` defines what a keep-mask is,
`imputation` fills what one removes, `packed_masks` holds those of many images, `fresh_masks` draws
random masks anew in each epoch, `appearance` describes an image apart from its anatomy,
`attributes` reads what tables and headers say of it, `shortcuts` and `attribute_shortcuts` (above
all folders) measure how well these alone predict the label. Below all, `settings` holds words and
settings, `image_size` is the height and width of images, `pixels` are gray values and arrays of
many images, in memory or elsewhere, and `slices` names those of volumes.
"""
