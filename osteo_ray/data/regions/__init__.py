"""Regions that are given with the images: where the sign of disease is, as somebody marked it.

`region` brings one to the size of a run, `png` and `coco` read the two forms in which they come,
`names` tells which belongs to which image, and `given` finds and checks those of a whole set.
"""
