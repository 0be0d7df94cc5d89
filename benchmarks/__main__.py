"""`python -m benchmarks NAME`."""

import sys

from benchmarks.command import run_benchmark
from osteo_ray.commands.main import run_safely

if __name__ == "__main__":
    sys.exit(run_safely(run_benchmark, sys.argv[1:]))
