"""Does training on explanation-masked radiographs make a classifier better, and is it real?

The `osteo-ray` command (`osteo_ray.commands.main`) calls `osteo_ray.config.build.build_config` and
`osteo_ray.pipeline.compare.stages.compare`.
"""

import os

# Ray reads this when it is imported. Under `uv run` it would have every worker build an environment
# of its own, which takes minutes; the workers use the one that is installed.
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
