"""From what `--data` names to one listing of images, and a reader that fetches them.

`kinds.open_source` is the way in. It hands each kind of source to a module of its own: `folders`,
`manifests`, `image_tables`, `archives` and `data_lists`. `listing` holds what they all make, a
`Source`; `rows` reads the columns that tables and lists share; `readers` fetch the images; and
`unreadable` words the errors of all of them in one way.
"""
