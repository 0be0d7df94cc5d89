"""From the bytes of a file, or an array, to a grayscale image, or to the reason why there is none.

`content.decode` is the way in. `images` decodes the usual formats, with `deep` for several channels
of more than 8 bits and `tiff` for unusual TIFF files; `dicom` decodes DICOM files (checked by
`dicom_checks`, shown by `dicom_display`, and with the help of GDCM in `gdcm_apart`), `nifti`
decodes NIfTI files, and `arrays` converts arrays. `grays` mixes channels. `signatures`, `refusals`,
`remarks`, `levels` and `result` serve all of them. `resizing` and `identity` work on the decoded
image.
"""
