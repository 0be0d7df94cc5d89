"""Synthetic knees whose disease, copies and conflicts are known.

`knee` draws one, `copying` copies it in the ways of real collections, and `sets` makes whole data
sets of both.
"""
