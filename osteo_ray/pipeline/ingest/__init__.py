"""Reading and auditing of whole sets of images on the cluster.

`intake.take_in` reads a source into a run (`reading`, with `blocks` in the workers), and
`auditing.audit_images` examines what was read (`copy_search` finds the copies); `findings`
describes the result.
"""
