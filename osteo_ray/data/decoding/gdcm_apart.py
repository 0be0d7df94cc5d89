"""Run GDCM in a process of its own.

Only GDCM can decode lossless JPEG and JPEG-LS, but some damaged files make it end its whole
process. So each process that needs GDCM starts a helper process for the first such file, keeps it
for those that follow, and replaces it when it dies.
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

from osteo_ray.data.decoding.refusals import refuse_errors
from osteo_ray.data.decoding.result import UnreadableImageError

TIMEOUT_S = 120
_LENGTH = struct.Struct("<Q")
_lock = threading.Lock()
_helpers: dict[int, subprocess.Popen[bytes]] = {}
"""The helper of each process, by process identifier, since a fork must not share its parent's."""


def decode_apart(content: bytes) -> np.ndarray:
    """Return the stored pixels of a DICOM file whose header has been checked.

    Args:
        content: The whole file.

    Returns:
        Integers, (height, width) or (height, width, 3).

    Raises:
        UnreadableImageError: GDCM cannot decode the pixels, died, or took too long.
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
        except OSError:  # the helper died before it had read everything
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
        helper.communicate()  # closes the pipes and waits for its end


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
    """Return the next message, or None if the other side is gone."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    length = _LENGTH.unpack(head)[0]
    message = stream.read(length)
    return message if len(message) == length else None


def _serve() -> None:
    """Answer each DICOM file with its stored pixels, or with nothing, until the parent ends."""
    # Imported here, as the process that starts a helper does not need it.
    import pydicom
    from pydicom.pixels.utils import pixel_array

    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # so that nothing else gets between the answers
    while (content := _receive(sys.stdin.buffer)) is not None:
        file = io.BytesIO()
        try:
            with refuse_errors(hide_details=True):
                stored = pixel_array(pydicom.dcmread(io.BytesIO(content)), index=0)
            np.save(file, stored, allow_pickle=False)
            answer = file.getvalue()
        except Exception:  # whatever it is, refuse the file
            answer = b""
        answers.write(_LENGTH.pack(len(answer)) + answer)
        answers.flush()


if __name__ == "__main__":
    _serve()
