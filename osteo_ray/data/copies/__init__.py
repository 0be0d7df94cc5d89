"""Images that show one radiograph: how they are recognized, grouped and labelled.

`thumbnails` reduce images to what is compared, and `keypoints` are their salient points. `codebook`
describes each by a vector, in order to find candidates; `alignment` says how one lies in another,
and `likeness` decides whether two of them are copies. `kinds` says in words which copies are found.
`groups` joins copies and patients into groups, and `conflicts` decides which label counts where
copies disagree.
"""
