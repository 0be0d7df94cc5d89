"""Every setting of a job, validated once, from presets, YAML and flags.

A configuration is built in layers: the paper's recipe, then the demo preset if the data are
phantoms, then a YAML file, then flags. The command line is generated from these classes, so that
each option is written once, here.
"""
