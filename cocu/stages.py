"""The stages of an experiment: which function each is, and which paths of the layout it gets.

The workflow's rules name them (`cocu stage NAME`). Takes the resolved configuration and what tells one job of a stage
from another; modules are loaded as they are needed, so that a name costs no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, cast

from cocu.config import Config
from cocu.errors import ConfigError
from cocu.layout import WEB, Curation, Experiment
from cocu.stamp import Store
from cocu.variants import split


@dataclass(frozen=True)
class Job:
    """One job of a stage. `given` holds corpus, split, arm, seed, block and benchmark; None where it was not said."""

    stage: str
    config: Config
    given: dict[str, Any]

    def of(self, key: str) -> Any:
        """Raises `ConfigError` for what the stage needs and was not given."""
        if self.given[key] is None:
            raise ConfigError(f"The stage {self.stage} needs --{key}.")
        return self.given[key]

    @property
    def at(self) -> Experiment:
        return Experiment(self.config)

    def curation(self) -> tuple[str, Config, Curation]:
        """The corpus of the curation that the job is of, the configuration that makes it, and its places."""
        corpus, config = split(self.config, self.of("corpus"))
        return corpus, config, self.at.curation(corpus, config)

    def joins(self, shards_per_job: int) -> bool:
        """Whether the job is to join blocks: the whole is one job's work where it fits into one."""
        corpus, _, _ = self.curation()
        return self.given["block"] is None and len(self.at.blocks(corpus, shards_per_job)) > 1


def corpus(job: Job) -> None:
    at, name = job.at, job.of("corpus")
    if at.mini:
        from cocu.mini import build

        build.run(job.config, corpus=name, out=at.corpus(name), truth=None if name == WEB else at.truth(name))
    else:
        from cocu.pairs import verify

        verify.run(job.config, corpus=name, out=at.corpus(name), copies=at.kept("corpus", name))


def benchmarks(job: Job) -> None:
    from cocu.mini import benchmarks

    half = cast("Literal['val', 'test']", job.of("split"))
    benchmarks.run(job.config, split=half, out=job.at.benchmarks(half))


def clip(job: Job) -> None:
    from cocu.mini import standin

    if job.at.clip is None:
        raise ConfigError(f"No CLIP is trained here: clip.model is '{job.config.clip.model}'.")
    standin.run(job.config, corpus=job.at.corpus(WEB).manifest, out=job.at.clip)


def captions(job: Job) -> None:
    from cocu.concepts import captions

    corpus, config, here = job.curation()
    captions.run(config, corpus=job.at.corpus(corpus).manifest, out=here.captions)


def embed(job: Job) -> None:
    from cocu.clip import embed

    corpus, config, here = job.curation()
    manifest, store = job.at.corpus(corpus).manifest, Store(job.at.kept("embed", job.of("corpus")))
    if job.joins(config.clip.shards_per_job):
        return embed.join_blocks(config, corpus=manifest, out=here.embeddings)
    number = job.given["block"]
    embed.run_images(config, corpus=manifest, clip=job.at.clip, out=here.embeddings, store=store, number=number)


def embed_vocabulary(job: Job) -> None:
    from cocu.clip import embed

    _, config, here = job.curation()
    embed.run_vocabulary(config, captions=here.captions, clip=job.at.clip, out=here.vectors)


def archive(job: Job) -> None:
    from cocu.curate import archive

    corpus, config, here = job.curation()
    manifest, name = job.at.corpus(corpus).manifest, job.of("corpus")
    if job.joins(config.curate.shards_per_job):
        return archive.join_blocks(config, corpus=manifest, curation=here)
    store, near = Store(job.at.kept("archive", name)), job.at.kept("neighbours", name)
    archive.run(config, corpus=manifest, curation=here, store=store, neighbours=near, number=job.given["block"])


def oracle(job: Job) -> None:
    from cocu.mini import truth

    corpus, config, here = job.curation()
    truth.run_oracle(config, corpus=corpus, truth=job.at.truth(corpus), captions=here.captions, out=here.oracle)


def quality(job: Job) -> None:
    from cocu.mini import quality

    corpus, config, here = job.curation()
    folders = {"truth": job.at.truth(corpus), "captions": here.captions, "archive": here.archive}
    quality.run(config, corpus=corpus, **folders, out=here.quality)


def train(job: Job) -> None:
    from cocu.train import loop

    at, arm, seed = job.at, job.of("arm"), job.of("seed")
    corpus, own = at.corpus_of(seed), job.config.arm(arm)
    loop.run(
        own,
        arm=arm,
        seed=seed,
        corpus=at.corpus(corpus).manifest,
        captions=at.curation(corpus, own).captions,
        archive=at.prompts(arm, seed),
        val=at.val,
        out=at.checkpoint(arm, seed),
        state=at.state(arm, seed),
    )


def import_(job: Job) -> None:
    from cocu.model.transformers import import_checkpoint

    arm, references = job.of("arm"), job.config.references
    if arm not in references or not references[arm].hf:
        raise ConfigError(f"No reference '{arm}' with a name of transformers (hf) in the configuration.")
    import_checkpoint(references[arm].hf, job.at.imported(arm))


def evaluate(job: Job) -> None:
    from cocu.evaluate import job as evaluation

    only, rows = job.given["benchmark"], job.at.rows(job.of("arm"))
    evaluated = job.config.evaluate.benchmarks if only is None else [only]
    evaluation.run(job.config, arms=rows, seed=job.of("seed"), benchmarks=evaluated)


def tables(job: Job) -> None:
    from cocu.report import tables

    tables.run(job.config, metrics=job.at.metrics, quality=job.at.qualities, out=job.at.tables)


def figures(job: Job) -> None:
    from cocu.report import figures

    at = job.at
    folders = {"metrics": at.metrics, "checkpoints": at.checkpoints, "out": at.figures}
    figures.run(job.config, **folders, quality=at.qualities)


def panel(job: Job) -> None:
    from cocu.report import panel

    at = job.at
    panel.run(job.config, checkpoints=at.checkpoints, metrics=at.metrics, test=at.test, out=at.figures)


STAGES: dict[str, Callable[[Job], None]] = {
    "corpus": corpus,
    "benchmarks": benchmarks,
    "clip": clip,
    "captions": captions,
    "embed": embed,
    "embed-vocabulary": embed_vocabulary,
    "archive": archive,
    "oracle": oracle,
    "quality": quality,
    "train": train,
    "import": import_,
    "evaluate": evaluate,
    "tables": tables,
    "figures": figures,
    "panel": panel,
}
