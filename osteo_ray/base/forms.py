"""Records of a run, read as what they should hold: JSON of another form counts as damage."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from osteo_ray.base.damage import DamagedError
from osteo_ray.base.storage import Place
from osteo_ray.base.tables import read_json

Form: TypeAlias = type | Mapping[str, "Form"] | list["Form"]
"""What a JSON value has to be: of a type (`object` is any); a group that has at least these names,
of which those with a `?` may be missing or null; or a list whose elements all have one form."""
GROUP: Form = {}
ENVIRONMENT: Form = {"created?": str, "versions?": GROUP, "hardware?": GROUP}
PLANS: Form = [{"hash": str}]
HISTORY: Form = [{"number": int, "validation_loss": float}]
CONCLUSIONS: Form = [{"key": str, "verdict": str}]
COMPARISON: Mapping[str, Form] = {
    "verdict": {"verdict": str},
    "verdicts": [{"model": str, "verdict": str}],
    "contrasts": [GROUP],
    "conclusion?": {"number": int},
}
"""What every comparison.json holds, that of a judgement of tables as well."""
_WORDS: Mapping[type, str] = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    dict: "a group",
    list: "a list",
}


def read_record(place: Place, form: Form) -> Any:
    """Read a JSON file of a run that has to be of a form.

    Raises:
        DamagedError: It is no JSON, or of another form.
    """
    content = read_json(place)
    misfit = next(_find_misfits(content, form, ""), None)
    if misfit is not None:
        raise DamagedError(place, f"it holds something else, as {misfit}")
    return content


def _find_misfits(content: Any, form: Form, name: str) -> Iterator[str]:
    """Say where a JSON value is not of a form."""
    kind: Any = form if isinstance(form, type) else list if isinstance(form, list) else dict
    # JSON writes a number without a fraction in either way.
    kinds: Any = (int, float) if kind is float else kind
    if not isinstance(content, kinds):
        yield f"{f'`{name}`' if name else 'all of it'} is not {_WORDS[kind]}"
    elif isinstance(form, list):
        for number, one in enumerate(content, start=1):
            yield from _find_misfits(one, form[0], f"{name}.{number}".lstrip("."))
    elif isinstance(form, Mapping):
        for key, inner in form.items():
            own = key.removesuffix("?")
            place = f"{name}.{own}".lstrip(".")
            if own == key and own not in content:
                yield f"`{place}` is missing"
            elif own == key or content.get(own) is not None:
                yield from _find_misfits(content[own], inner, place)
