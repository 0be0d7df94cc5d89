"""Let GDCM decode in a process of its own.

Lossless JPEG and JPEG-LS only GDCM can decode; and of some damaged files it ends the whole process.
So a helper process does it, one for each process that needs one: started for the first such file,
kept for the following, replaced when it dies.
"""

import atexit
import io
import os
import struct
import subprocess
import sys
import threading
from typing import IO

import numpy as np

from osteo_ray.data.decoding.images import UnreadableImageError, refuse_errors

TIMEOUT_S = 120
_LENGTH = struct.Struct("<Q")
_lock = threading.Lock()
_helpers: dict[int, subprocess.Popen[bytes]] = {}
"""The helper by the identifier of the process it belongs to: a fork must not share its parent's."""


def decode_apart(content: bytes) -> np.ndarray:
    """Return the stored pixels of a DICOM file whose header has been checked.

    Args:
        content: Of a DICOM file.

    Returns:
        Integers, (height, width) or (height, width, 3).

    Raises:
        UnreadableImageError: The pixels cannot be decoded, or GDCM broke off or took too long.
    """
    with _lock:
        helper = _start_helper()
        timer = threading.Timer(TIMEOUT_S, helper.kill)
        timer.start()
        try:
            assert helper.stdin is not None
            assert helper.stdout is not None
            helper.stdin.write(_LENGTH.pack(len(content)) + content)
            helper.stdin.flush()
            answer = _receive(helper.stdout)
        except OSError:  # it has gone before all was written
            answer = None
        finally:
            timer.cancel()
        if answer is None:
            stop_helper()
    if not answer:
        raise UnreadableImageError("damaged pixel data")
    stored: np.ndarray = np.load(io.BytesIO(answer), allow_pickle=False)
    return stored


def stop_helper() -> None:
    """End this process's helper, if there is one."""
    helper = _helpers.pop(os.getpid(), None)
    if helper is not None:
        helper.kill()
        helper.communicate()  # closes the pipes and waits for the end


atexit.register(stop_helper)


def _start_helper() -> subprocess.Popen[bytes]:
    helper = _helpers.get(os.getpid())
    if helper is None or helper.poll() is not None:
        stop_helper()
        helper = subprocess.Popen(
            [sys.executable, "-m", "osteo_ray.data.decoding.gdcm_apart"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # GDCM's remarks on damaged files
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        _helpers[os.getpid()] = helper
    return helper


def _receive(stream: IO[bytes]) -> bytes | None:
    """Return the next message; nothing if the other side has gone."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    length = _LENGTH.unpack(head)[0]
    message = stream.read(length)
    return message if len(message) == length else None


def _serve() -> None:
    """Answer each DICOM file with its stored pixels, or with nothing; ends with the parent."""
    # Imported here: whoever starts a helper has no need of it.
    import pydicom
    from pydicom.pixels.utils import pixel_array

    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nothing else may get between the answers
    while (content := _receive(sys.stdin.buffer)) is not None:
        file = io.BytesIO()
        try:
            with refuse_errors(hide_details=True):
                stored = pixel_array(pydicom.dcmread(io.BytesIO(content)), index=0)
            np.save(file, stored, allow_pickle=False)
            answer = file.getvalue()
        except Exception:  # whatever it is, the file is refused
            answer = b""
        answers.write(_LENGTH.pack(len(answer)) + answer)
        answers.flush()


if __name__ == "__main__":
    _serve()
