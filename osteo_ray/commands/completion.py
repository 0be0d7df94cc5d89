"""`osteo-ray completion`: scripts with which shells complete commands and flags."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import tyro

from osteo_ray.base.settings import Settings
from osteo_ray.commands.help_text import DEMO, DRY_RUN, HELP_ALL, JSON
from osteo_ray.commands.parsing import DONE
from osteo_ray.config.audit import AuditConfig
from osteo_ray.config.compare import CompareConfig
from osteo_ray.config.explain import ExplainConfig
from osteo_ray.config.flags import list_flags
from osteo_ray.config.reproduce import ReproduceConfig
from osteo_ray.config.variants import PlanConfig, ProtocolsConfig, VarianceConfig

CONFIGURED: dict[str, type[Settings]] = {
    "compare": CompareConfig,
    "plan": PlanConfig,
    "protocols": ProtocolsConfig,
    "variance": VarianceConfig,
    "audit": AuditConfig,
    "explain": ExplainConfig,
    "reproduce": ReproduceConfig,
}
"""The commands that have a configuration, and which."""
_BASH = """\
_osteo_ray() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} words=""
  if [ "$COMP_CWORD" = 1 ]; then
    COMPREPLY=($(compgen -W "{commands}" -- "$word"))
    return
  fi
  case ${{COMP_WORDS[1]}} in
{cases}
  esac
  case $word in
    -*) COMPREPLY=($(compgen -W "$words" -- "$word")) ;;
    *) COMPREPLY=($(compgen -f -- "$word")) ;;
  esac
}}
complete -o filenames -F _osteo_ray osteo-ray
"""


def completion_command(arguments: list[str], commands: Mapping[str, str]) -> int:
    """Run `osteo-ray completion` with these words; return the exit code.

    Args:
        arguments: The words.
        commands: The names of all commands, and what they do.
    """

    def completion(shell: Annotated[Literal["bash", "zsh", "fish"], tyro.conf.Positional]) -> None:
        """Print a script that completes commands and flags; docs/command-line.md tells where to.

        Args:
            shell: The shell that shall run it.
        """
        if shell == "fish":
            print("\n".join(_write_fish(commands)))
            return
        print("autoload -U bashcompinit && bashcompinit\n" * (shell == "zsh"), end="")
        cases = "\n".join(
            f"    {name}) words={' '.join(_list_words(kind))!r} ;;"
            for name, kind in CONFIGURED.items()
        )
        print(_BASH.format(commands=" ".join(commands), cases=cases), end="")

    tyro.cli(completion, prog="osteo-ray completion", args=arguments)
    return DONE


def _list_words(kind: type[Settings]) -> Sequence[str]:
    flags = [name for flag in list_flags(kind) for name in flag.names]
    demo = [DEMO] if "phantom" in kind.model_fields else []
    dry_run = [DRY_RUN] if kind is CompareConfig else []
    return [*flags, "--config", *demo, *dry_run, JSON, "--help", HELP_ALL]


def _write_fish(commands: Mapping[str, str]) -> Sequence[str]:
    start = "complete -c osteo-ray"
    lines = [
        f"{start} -n __fish_use_subcommand -f -a {name} -d {meaning!r}"
        for name, meaning in commands.items()
    ]
    for name, kind in CONFIGURED.items():
        lines += [
            f"{start} -n '__fish_seen_subcommand_from {name}' -l {word.removeprefix('--')}"
            for word in _list_words(kind)
        ]
    return lines
