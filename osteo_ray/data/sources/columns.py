"""Find out which column of a table holds what: path, label, patient, side, slice and so on."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from osteo_ray.base.errors import InputError, suggest
from osteo_ray.data.sources.words import read_split, tidy

TOLD = ("maker", "device", "view", "age", "sex")
"""Attributes of an image that nothing else needs to know; see `attributes.ATTRIBUTES`."""
ROLES = (
    *("path", "label", "patient", "study", "side", "slice", "site", "split", "region"),
    *TOLD,
)
"""What a column may hold; `--columns ROLE=COLUMN` says which one does."""
_USUAL = {  # in the order in which they are preferred, without case, spaces and signs
    "path": "path filename imagepath filepath imagefilename imagefile file relativepath relpath "
    "imagename imageindex image img dicompath pngpath jpgpath",
    "label": "label class labels classlabel classname category target",
    "patient": "patientid patientids patient patientsid idpatient patid pid ptid pt ptno patientno "
    "patientnumber patientnr patientnum patientcode patientkey patientidentifier patientuid "
    "patients pat patno subjectid subjectids subject subjid subj subjectno subjectnumber "
    "subjectidentifier subjects usubjid studysubjectid subjectkey srcsubjectid participantid "
    "participant participantno participantnumber personid person individualid individual mrn "
    "medicalrecordnumber medicalrecordno emrn hospitalnumber empi nhsnumber eid feid caseid case "
    "caseno casenumber caseidentifier cases sub anonid anonymizedpatientid anonymisedpatientid "
    "deidentifiedpatientid patientname patientsname",  # of namesakes, who may be several, last
    "study": "studyid study studyuid studyinstanceuid studynumber studyno accession "
    "accessionnumber accessionno examid exam examination examinationid examno examnumber visitid "
    "encounterid sessionid",
    "side": "side laterality imagelaterality kneeside bodyside",
    "slice": "slice sliceindex slicenumber sliceno sliceid",
    "site": "site",
    "split": "split",
    "region": "region",
    "maker": "manufacturer maker vendor scannervendor devicevendor devicemanufacturer "
    "scannermanufacturer",
    "device": "manufacturermodelname devicemodel scannermodel scanner device machine modelname",
    "view": "viewposition view projection viewpoint imageview",
    "age": "age patientage ageyears ageinyears ageatexam ageatvisit agey patientagey",
    "sex": "sex gender patientsex patientgender biologicalsex",
}
_BY_NAME = {name: (role, n) for role in ROLES for n, name in enumerate(_USUAL[role].split())}
_OF_SPLITS = frozenset(
    {"set", "partition", "subset", "phase", "usage", "part", "datasplit", "splitname", "dataset"}
)
_BARE = frozenset({"id", "ids", "identifier", "uid", "recordid", "key", "code", "index", "idx"})


@dataclass(frozen=True)
class Columns:
    """Which column of a table holds what.

    Attributes:
        names: Name of the column by role.
        unread: Names of all others.
        twice: Names that several columns have, of which the first counts.
    """

    names: Mapping[str, str]
    unread: Sequence[str]
    twice: Sequence[str] = ()

    def describe(self) -> list[str]:
        """Say which columns are read as what, and which are not read."""
        read = [f"{role} from `{name}`" for role, name in self.names.items()]
        notes = [f"Columns read: {', '.join(read)}."] if read else []
        unread = [
            f"`{tidy(name)}`" for name in self.unread if tidy(name)
        ]  # pandas' index has no name
        if unread:
            notes.append(f"Columns not read: {', '.join(unread)}.")
        return notes + list(map(say_first_counts, self.twice))


def say_first_counts(name: str) -> str:
    """Say which of several columns of one name is read."""
    return f"Of several columns called `{name}`, the first counts."


def read_choices_of_columns(entries: Iterable[str]) -> dict[str, str]:
    """Read what `--columns` says: by role, the name of a column, or "" for none.

    Raises:
        ValueError: An entry is not ROLE=COLUMN, or a role is unknown or repeated.

    Example:
        >>> read_choices_of_columns(["path=filename", "patient_id=MRN", "side="])
        {'path': 'filename', 'patient': 'MRN', 'side': ''}
    """
    chosen: dict[str, str] = {}
    for entry in entries:
        role, mark, name = entry.partition("=")
        role = "patient" if role == "patient_id" else role
        if not mark:
            raise ValueError(f"Expected ROLE=COLUMN, such as label=diagnosis, but got `{entry}`.")
        if role not in ROLES:
            raise ValueError(
                f"Expected one of {', '.join(ROLES)} before `=`, but got `{entry}`."
                + suggest(role, ROLES)
            )
        if role in chosen:
            raise ValueError(f"Expected one column for {role}, but got several.")
        chosen[role] = name
    return chosen


def choose_columns(found: Sequence[Any], given: Mapping[str, str], uri: str) -> Columns:
    """Find the column of each role, by what the user says or else by its usual names.

    Args:
        found: The names of all columns.
        given: By role, the column that the user names; "" if none is to be read.
        uri: The table, for the message.

    Raises:
        InputError: There is no such column.

    Example:
        >>> columns = choose_columns(["Patient ID", "File_Name", "dx", "BMI"], {"label": "dx"}, "x")
        >>> columns.names
        {'label': 'dx', 'patient': 'Patient ID', 'path': 'File_Name'}
        >>> columns.unread
        ['BMI']
    """
    texts = list(dict.fromkeys(map(str, found)))
    names: dict[str, str] = {}
    for role, wanted in given.items():
        if not wanted:
            continue
        name = find_column(wanted, texts)
        if not name:
            raise InputError(
                f"Expected a column `{wanted}` in {uri}, as --columns {role}={wanted} says, but "
                f"the columns found are: {', '.join(texts) or 'none'}.{suggest(wanted, texts)} "
                "Correct --columns."
            )
        names[role] = name
    best: dict[str, tuple[int, str]] = {}
    for name in texts:
        role, rank = _BY_NAME.get(_plain(name), ("", 0))
        if role and role not in given and name not in names.values():
            best[role] = min(best.get(role, (rank, name)), (rank, name), key=lambda one: one[0])
    names |= {role: name for role, (_, name) in best.items()}
    unread = [name for name in texts if name not in names.values()]
    return Columns(names, unread)


def find_column(wanted: str, found: Sequence[str]) -> str:
    """Return the column that a user means, in any case and with any signs, or "" if there is none.

    Example:
        >>> find_column("file name", ["id", "File_Name"]), find_column("dx", ["id"])
        ('File_Name', '')
    """
    exact = [name for name in found if tidy(name) == tidy(wanted)]
    alike = [name for name in found if _plain(name) == _plain(wanted)]
    return next(iter(exact or alike), "") if wanted else ""


def may_be_read(name: str, given: Mapping[str, str]) -> bool:
    """Tell whether a column of this name may be read at all.

    Args:
        name: Name of the column.
        given: By role, the column that the user names.

    Example:
        >>> may_be_read("PatientID", {}), may_be_read("BMI", {}), may_be_read("dx", {"label": "dx"})
        (True, False, True)
    """
    plain = _plain(name)
    wanted = {_plain(one) for one in given.values()}
    return plain in _BY_NAME or plain in _OF_SPLITS or plain in _BARE or plain in wanted


def is_bare_identifier(name: str) -> bool:
    """Tell whether a column is called `id` or the like, which may be of a patient or of an image.

    Example:
        >>> is_bare_identifier("ID"), is_bare_identifier("patient_id")
        (True, False)
    """
    return _plain(name) in _BARE


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", tidy(str(name)).casefold())


def may_name_splits(name: str, values: Iterable[Any]) -> bool:
    """Tell whether a column that is called `set` or the like holds parts of a split.

    Example:
        >>> may_name_splits("Set", ["Train", "Test", None]), may_name_splits("Set", ["A", "B"])
        (True, False)
    """
    if _plain(name) not in _OF_SPLITS:
        return False
    told = {str(value).strip() for value in values} - {"", "nan", "None", "<NA>"}
    return bool(told) and all(map(read_split, told))
