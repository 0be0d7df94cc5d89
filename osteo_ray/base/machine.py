"""Describe a machine as far as results may depend on it. Free of Ray and PyTorch."""

import hashlib
import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_GPU_DRIVER = Path("/proc/driver/nvidia/version")
_INSTRUCTIONS = re.compile(r"sse4_2|fma|avx.*|amx.*|asimd.*|sve.*|bf16|i8mm")
_SETTINGS = re.compile(
    r"ATEN_CPU_CAPABILITY|(ONE)?DNN_.*|DNNL_.*|MKL_(CBWR|ENABLE_INSTRUCTIONS|DEBUG_CPU_TYPE)"
    r"|OPENBLAS_CORETYPE|NPY_DISABLE_CPU_FEATURES|NVIDIA_TF32_OVERRIDE"
    r"|OPENCV_CPU_DISABLE|OV_CPU_.*"
)


def describe_machine() -> dict[str, str]:
    """Return the properties of this machine and process that results may depend on.

    Returns:
        `cpu` (its model), `isa` (its vector instructions), `gpu_driver` (empty if there is none),
        `libc`, and `settings` (environment variables that affect how libraries compute).
    """
    text = _read(_CPUINFO)
    return {
        "cpu": name_cpu(text) or platform.processor() or platform.machine(),
        "isa": list_instructions(text),
        "gpu_driver": name_driver(_read(_GPU_DRIVER)),
        "libc": " ".join(platform.libc_ver()).strip(),
        "settings": list_settings(os.environ),
    }


def name_cpu(cpuinfo: str) -> str:
    """Return the model of a CPU with its family, as marketing names may hide the generation.

    Args:
        cpuinfo: Content of /proc/cpuinfo; if it has several CPUs, the first one counts.

    Example:
        >>> name_cpu("cpu family : 25\\nmodel : 17\\nmodel name : AMD EPYC\\nstepping : 1\\n")
        'AMD EPYC, family 25, model 17, stepping 1'
    """
    fields = _read_fields(cpuinfo)
    name = fields.get("model name") or fields.get("CPU part", "")
    parts = [("family", "cpu family"), ("model", "model"), ("stepping", "stepping")]
    known = [f"{word} {fields[key]}" for word, key in parts if key in fields]
    return ", ".join([name, *known]) if name else ""


def list_instructions(cpuinfo: str) -> str:
    """Return the vector instructions of a CPU, which decide what code libraries run.

    Example:
        >>> list_instructions("flags : fpu avx2 fma avx512f\\n")
        'avx2 avx512f fma'
    """
    fields = _read_fields(cpuinfo)
    flags = (fields.get("flags") or fields.get("Features", "")).split()
    return " ".join(sorted(flag for flag in set(flags) if _INSTRUCTIONS.fullmatch(flag)))


def name_driver(text: str) -> str:
    """Return the version of NVIDIA's driver, from what the driver says of itself.

    Example:
        >>> name_driver("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar 5")
        '550.54.15'
    """
    found = re.search(r"\d+(\.\d+)+", text.partition("Module")[2])
    return found.group() if found else ""


def list_settings(environment: Mapping[str, str]) -> str:
    """Return the environment variables that choose how libraries compute.

    Example:
        >>> list_settings({"ATEN_CPU_CAPABILITY": "avx2", "HOME": "/root"})
        'ATEN_CPU_CAPABILITY=avx2'
    """
    wanted = sorted(name for name in environment if _SETTINGS.fullmatch(name))
    return " ".join(f"{name}={environment[name]}" for name in wanted)


def hash_code() -> str:
    """Return a hash of the source of this package, which changes more often than its version."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _read_fields(cpuinfo: str) -> dict[str, str]:
    """Read the fields of the first CPU."""
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            fields.setdefault(key.strip(), value.strip())
    return fields
