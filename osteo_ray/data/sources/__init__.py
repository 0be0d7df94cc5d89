"""From what `--data` names to one listing of images, and a reader that fetches them.

`kinds.open_source` is the way in. It hands each kind of source to a module of its own: `folders`,
`manifests`, `image_tables`, `archives`, `data_lists`, `media`, `packed` and `shards`. `file_sets`
lists what folders and packed folders have in common; `text_tables` and `sheets` read tables.
`listing` holds what they all make, a `Source`, and `readers` fetch the images.

What people mean is told by `words` (parts of a split, masks, unknowns), `layouts`, `no_classes` and
`masks_beside` (folders), `parts` (names beside each other), `columns`, `class_columns`, `rows`,
`row_paths`, `sides` and `named_files` (tables), `classes` (spellings of labels), and `patients`
with `patient_forms` and `patient_tables`. Whatever they assume, they say in `Source.notes` and
`Source.doubts`. `options` is what users say themselves, and `unreadable` words the errors of all in
one way.
"""
