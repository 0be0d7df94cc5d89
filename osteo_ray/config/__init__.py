"""All settings of a job, validated once, from presets, YAML and flags.

A configuration is built in layers: the paper's recipe, then smaller settings if the data are
phantoms, and those of a demo, then a YAML file, then flags. The command line is generated from
these classes, so each option is written once.
"""
