"""Images that show one radiograph: how they are recognized, grouped and labelled.

`thumbnails` reduce images to what is compared. `codebook` describes each by a vector, in order to
find candidates; `likeness` decides whether two of them are copies. `groups` joins copies and
patients into groups, and `conflicts` decides which label counts where copies disagree.
"""
