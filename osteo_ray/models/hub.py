"""The hubs that ImageNet weights come from: what is stored here already, and whether they answer.

Their own clients try again for minutes. So a hub is asked once, with a time limit, before anything
depends on it. Nothing here imports PyTorch.
"""

import os
import re
import threading
from collections.abc import Iterable
from pathlib import Path

from osteo_ray.base.errors import InputError
from osteo_ray.base.networks import TORCHVISION, is_timm_name
from osteo_ray.models.offered import list_timm

LIMIT_S = 3.0
"""Within which a hub must answer, whatever the answer is."""
_TORCH_HUB = "https://download.pytorch.org"


def advise_weights(name: str) -> str:
    """Return what to do where the hub gives no weights."""
    return (
        f"Give a file with --weights {name}=FILE, make the hub reachable, or train from scratch "
        "with --weights none."
    )


def refuse_hub(name: str, error: object) -> InputError:
    """Return an error about weights that a hub did not give."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return InputError(
        f"Expected ImageNet weights for `{name}`, but the hub gave none ({reason}). "
        + advise_weights(name)
    )


def check_hubs(names: Iterable[str]) -> None:
    """Ask the hubs of some networks whether they are there, unless the weights are stored here.

    Args:
        names: Networks of timm or torchvision whose weights are to come from a hub; others are
            not looked at.

    Raises:
        InputError: A hub does not answer within `LIMIT_S`, or may not be asked.
    """
    asked: dict[str, str] = {}
    for name in names:
        if not (is_timm_name(name) or name.startswith(TORCHVISION)) or find_stored(name):
            continue
        hub = _TORCH_HUB if name.startswith(TORCHVISION) else _find_timm_hub()
        if hub not in asked:
            asked[hub] = _ask(hub) if hub else "HF_HUB_OFFLINE is set"
        if asked[hub]:
            raise refuse_hub(name, asked[hub])


def find_stored(name: str) -> Path | None:
    """Return the file with the weights of a network that a hub's client has stored here, if any."""
    if name.startswith(TORCHVISION):
        wanted = _squeeze(name.removeprefix(TORCHVISION))
        for file in sorted(_find_torch_cache().glob("*.pth")):
            found = _squeeze(file.stem.rpartition("-")[0])  # behind it stands a hash
            if found.startswith(wanted) or (found and wanted.startswith(found)):
                return file
        return None
    from huggingface_hub import constants

    arch, _, tag = list_timm().get(name, name).partition(".")
    folders = Path(constants.HF_HUB_CACHE).glob(f"models--*--{arch}.{tag or '*'}")
    files = sorted(
        file
        for folder in folders
        for ending in ("safetensors", "bin")
        for file in folder.glob(f"snapshots/*/*.{ending}")
        if file.is_file()  # a link to what a broken download has left leads nowhere
    )
    return files[0] if files else None


def _squeeze(name: str) -> str:
    """Return the letters and digits of a name: files spell `mnasnet0_5` as `mnasnet0.5`."""
    return re.sub(r"[\W_]", "", name).lower()


def _find_torch_cache() -> Path:
    """Return where `torch.hub` stores weights, by its rules."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("TORCH_HOME", f"{cache}/torch")
    return Path(home).expanduser() / "hub" / "checkpoints"


def _find_timm_hub() -> str:
    """Return the address of the hub that timm asks; empty if it may not be asked."""
    from huggingface_hub import constants

    return "" if constants.HF_HUB_OFFLINE else constants.ENDPOINT


def _ask(hub: str) -> str:
    """Return why a hub cannot be used, or an empty string if it answers, even with a refusal."""
    found = [f"{hub} does not answer within {LIMIT_S:g} s"]

    def ask() -> None:
        import requests

        try:
            requests.head(hub, timeout=LIMIT_S, allow_redirects=False)
            found[0] = ""
        except requests.Timeout:
            pass
        except requests.RequestException as error:
            found[0] = f"{hub} cannot be reached: {type(error).__name__}"

    # In a thread of its own, as looking up a name knows no time limit.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(LIMIT_S)
    return found[0]
