"""Whether the sections of the configuration fit each other: values that would stop a later stage, or do nothing.

Takes sections; gives sentences, without full stops, that name the keys, their values and the remedy. Nothing here
loads torch or reads the data, so that a dry run asks too. A default may be without effect under another value, as
`epochs` is beside `steps`; what someone must have written for nothing is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cocu.data_sections import Clip, Corpus, Curate
from cocu.sections import Evaluate, Model, Prompts, Train

FEWEST_LAYERS = 2  # the first is never dropped, and the last has the whole of model.drop_path
PUBLISHED = ("voc", "context", "coco_object", "imagenet_s_50", "imagenet_s_300", "coco_stuff", "cityscapes", "ade20k")
COLDEST = 0.01  # the factor on similarities, its inverse, is at most 100
SHARED = ("clip.stand_in", "clip.shards_per_job", "clip.threads", "curate.shards_per_job", "curate.threads")
OF_ARCHIVES = ("clip.model", "clip.pretrained", "clip.batch_size", "curate.search", "curate.compat", "curate.pool")
RANKED = ("sampling", "temperature", "replacement")  # keys of train.prompts that order or weigh an archive's concepts


def data_mistakes(corpus: Corpus, clip: Clip, curate: Curate) -> list[str]:
    """What curation asks for and cannot have; with an arm applied, or of all of them."""
    mistakes = []
    if clip.model == "stand-in" and clip.pretrained:
        mistakes.append(
            f"clip.pretrained is '{clip.pretrained}', and clip.model 'stand-in' is trained here: name a model of "
            "open_clip, or set clip.pretrained to ''"
        )
    if clip.model != "stand-in" and not clip.pretrained:
        mistakes.append(
            f"clip.model '{clip.model}' needs clip.pretrained, a tag of open_clip's weights such as openai, or a file "
            "with them"
        )
    if corpus.kind == "mini":
        mistakes += _mini_mistakes(corpus, clip, curate)
    elif clip.model == "stand-in":
        mistakes.append("clip.model 'stand-in' learns from the mini corpus; name an open_clip model, e.g. ViT-B-16")
    return mistakes


def evaluation_mistakes(corpus: Corpus, evaluate: Evaluate) -> list[str]:
    """What no arm has a part in."""
    mistakes = [] if evaluate.benchmarks else ["evaluate.benchmarks is empty: name one at least"]
    mistakes += [
        f"evaluate.benchmarks names '{name}', whose photographs corpus.kind 'mini' does not compose: write "
        f"'mini_{name}'"
        for name in evaluate.benchmarks
        if corpus.kind == "mini" and name in PUBLISHED
    ]
    if corpus.kind != "mini" and evaluate.backgrounds:
        mistakes.append(
            f"evaluate.backgrounds is {list(evaluate.backgrounds)}, to be chosen from on val images, which only "
            "corpus.kind 'mini' has: set it to [], the published thresholds"
        )
    return mistakes


def arm_mistakes(corpus: Corpus, model: Model, train: Train) -> list[str]:
    """What an arm, or all of them, asks for and cannot have; `model` and `train` have the arm applied."""
    mistakes = []
    pairs, layers = corpus.mini.train_pairs, sum(stage.depth for stage in model.stages)
    if corpus.kind == "mini" and train.batch_size > pairs:
        mistakes.append(
            f"train.batch_size is {train.batch_size}, more than the {pairs} pairs of corpus.mini.train_pairs: lower "
            "the one or raise the other"
        )
    if corpus.kind != "mini" and train.validate_every:
        mistakes.append(
            f"train.validate_every is {train.validate_every}, and only corpus.kind 'mini' has val images for a curve: "
            "set it to 0"
        )
    if corpus.kind != "mini" and train.prompts.source == "truth":
        mistakes.append(
            "train.prompts.source is 'truth', which only corpus.kind 'mini' has: set it to 'archive' or 'caption', or "
            "leave the arm out of run_arms"
        )
    if model.drop_path and layers < FEWEST_LAYERS:
        mistakes.append(
            f"model.drop_path is {model.drop_path:g}, and the depths of model.stages add up to {layers}, where no "
            "layer is ever dropped: set it to 0"
        )
    mistakes += [
        f"model.stages.{i} has depth 0 and group_tokens 0, and does nothing: leave it out"
        for i, stage in enumerate(model.stages)
        if not stage.depth and not stage.group_tokens
    ]
    if model.temperature <= COLDEST:
        mistakes.append(
            f"model.temperature is {model.temperature:g}: from {COLDEST:g} down the factor on similarities is cut off "
            f"at {1 / COLDEST:g}, and does not learn; raise it"
        )
    return mistakes


def override_mistakes(override: Mapping[str, Any], prompts: Prompts) -> list[str]:
    """What an arm sets of its curation and of train.prompts that its source, in the resolved `prompts`, does not use.

    Concepts of captions and the true ones have no rank: each is drawn alike and once, which `uniform` rightly says.
    """
    mistakes = [
        f"{path} decides how jobs run, not what they make, and is one for all arms: set it outside of the arm"
        for path in SHARED
        if _given(override, path) is not None
    ]
    if prompts.source == "archive":
        return mistakes
    archives = [path for path in OF_ARCHIVES if _given(override, path) is not None]
    mistakes += [
        f"{path} is given and has no effect, since train.prompts.source is '{prompts.source}', which no archive is "
        "read for: remove the key, or set source to 'archive'"
        for path in archives
    ]
    given = _given(override, "train.prompts")
    if not isinstance(given, Mapping):
        return mistakes
    return mistakes + [
        f"train.prompts.{key} is {given[key]!r} and has no effect, since train.prompts.source is '{prompts.source}', "
        "whose concepts have no rank: remove the key, or set source to 'archive'"
        for key in RANKED
        if key in given and (key, given[key]) != ("sampling", "uniform")
    ]


def _given(override: Any, path: str) -> Any:
    for key in path.split("."):
        override = override.get(key) if isinstance(override, Mapping) else None
    return override


def _mini_mistakes(corpus: Corpus, clip: Clip, curate: Curate) -> list[str]:
    mistakes = []
    world, batch = corpus.mini, clip.stand_in.batch_size
    if clip.model == "stand-in" and batch > world.web_pairs:
        mistakes.append(
            f"clip.stand_in.batch_size is {batch}, more than the {world.web_pairs} pairs of corpus.mini.web_pairs: "
            "lower the one or raise the other"
        )
    neighbours, others = curate.search.neighbours, world.train_pairs - curate.search.exclude_self
    if not curate.pool and neighbours > others:
        mistakes.append(
            f"curate.search.neighbours is {neighbours}, and a pair has {others} others by corpus.mini.train_pairs: "
            "lower the one or raise the other"
        )
    vocabulary = curate.vocabulary
    if not curate.pool and not vocabulary.file and vocabulary.min_count > world.train_pairs:
        mistakes.append(
            f"curate.vocabulary.min_count is {vocabulary.min_count}, more than the {world.train_pairs} captions of "
            "corpus.mini.train_pairs: lower the one or raise the other"
        )
    return mistakes
