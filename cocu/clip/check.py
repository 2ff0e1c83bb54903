"""Whether open_clip has the models and weights that the configuration names, asked before the first job runs.

Takes the configuration; gives nothing, or one line for each CLIP that does not exist. Nothing is downloaded.
"""

from __future__ import annotations

from cocu.clip.encoder import STAND_IN, check_published
from cocu.config import Config
from cocu.errors import ConfigError


def check_clips(config: Config) -> None:
    """Raise `ConfigError`, a line a mistake, for the CLIPs that curate and for those among the references."""
    named = [("", config.clip.model, config.clip.pretrained)]
    for name in config.arms:
        own = config.arm(name).clip
        if all((own.model, own.pretrained) != (model, pretrained) for _, model, pretrained in named):
            named.append((f"arms.{name}: ", own.model, own.pretrained))
    named += [(f"references.{name}: ", r.clip, r.pretrained) for name, r in config.references.items() if r.clip]
    mistakes = []
    for where, model, pretrained in named:
        if model == STAND_IN:
            continue
        try:
            check_published(model, pretrained)
        except ConfigError as error:
            mistakes.append(f"{where}{error}")
    if mistakes:
        raise ConfigError("\n".join(mistakes))
