"""Division of images into training, validation and test sets.

`assignment` makes the splits, by dealing groups into parts (`allocation`); `checks` refuses sets
that are too small, and splits that divide what belongs together; `sites` leaves one site out;
`wording` says how images were divided.
"""
