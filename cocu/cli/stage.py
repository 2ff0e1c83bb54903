"""`cocu stage NAME`: one stage of an experiment, as the workflow's rules call it.

Takes the resolved configuration and what tells one job of a stage from another; the paths are the layout's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, cast

import typer

from cocu.cli.options import DEFAULT, ConfigFiles
from cocu.config import Config, load
from cocu.errors import ConfigError
from cocu.layout import WEB, Experiment
from cocu.stamp import Store
from cocu.variants import split

Stage = Literal[
    "corpus",
    "benchmarks",
    "clip",
    "captions",
    "embed",
    "embed-vocabulary",
    "archive",
    "oracle",
    "quality",
    "train",
    "import",
    "evaluate",
    "tables",
    "figures",
    "panel",
]
Split = Literal["val", "test"]
app = typer.Typer()


@dataclass(frozen=True)
class Job:
    """What tells one job of a stage from another. Raises `ConfigError` for what the stage needs and was not given."""

    stage: str
    given: dict[str, str | int | None]

    def text(self, key: str) -> str:
        return str(self._of(key))

    def number(self, key: str) -> int:
        return int(self._of(key))

    def _of(self, key: str) -> str | int:
        value = self.given[key]
        if value is None:
            raise ConfigError(f"The stage {self.stage} needs --{key}.")
        return value


@app.command(rich_help_panel="Workflow")
def stage(
    name: Annotated[Stage, typer.Argument(metavar="NAME", help="The stage; each is a rule of the workflow.")],
    corpus: Annotated[str | None, typer.Option(metavar="NAME", help="A corpus of the experiment.")] = None,
    split: Annotated[Split | None, typer.Option(help="Of the mini benchmarks.")] = None,
    arm: Annotated[str | None, typer.Option(metavar="NAME", help="An arm, or a reference of the tables.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="One of the experiment's seeds.")] = None,
    block: Annotated[int | None, typer.Option(min=0, help="Number of a block of shards, from 0.")] = None,
    benchmark: Annotated[
        str | None, typer.Option(metavar="NAME", help="A benchmark; all of them where it is left out.")
    ] = None,
    config: ConfigFiles = DEFAULT,
) -> None:
    """Run one stage of an experiment in its folder, results/EXPERIMENT, as the workflow's rules do."""
    given = {"corpus": corpus, "split": split, "arm": arm, "seed": seed, "block": block, "benchmark": benchmark}
    run(name, load(config), Job(name, given))


def run(name: Stage, config: Config, job: Job) -> None:
    """Call a stage's function with the experiment's paths. The modules are loaded as they are needed."""
    at = Experiment(config)
    match name:
        case "corpus" | "benchmarks" | "clip":
            _data(name, config, at, job)
        case "captions" | "embed" | "embed-vocabulary" | "archive" | "oracle" | "quality":
            _curation(name, config, at, job)
        case "train":
            _train(config, at, job)
        case "import":
            from cocu.model.transformers import import_checkpoint

            arm = job.text("arm")
            if arm not in config.references or not config.references[arm].hf:
                raise ConfigError(f"No reference '{arm}' with a name of transformers (hf) in the configuration.")
            import_checkpoint(config.references[arm].hf, at.imported(arm))
        case "evaluate":
            _evaluate(config, at, job)
        case "tables" | "figures" | "panel":
            _report(name, config, at)


def _data(name: str, config: Config, at: Experiment, job: Job) -> None:
    if name == "benchmarks":
        from cocu.mini import benchmarks

        split = cast("Split", job.text("split"))
        benchmarks.run(config, split=split, out=at.benchmarks(split))
    elif name == "clip":
        from cocu.mini import standin

        if at.clip is None:
            raise ConfigError(f"No CLIP is trained here: clip.model is '{config.clip.model}'.")
        standin.run(config, corpus=at.corpus(WEB).manifest, out=at.clip)
    elif at.mini:
        from cocu.mini import build

        corpus = job.text("corpus")
        build.run(config, corpus=corpus, out=at.corpus(corpus), truth=None if corpus == WEB else at.truth(corpus))
    else:
        from cocu.pairs import verify

        corpus = job.text("corpus")
        verify.run(config, corpus=corpus, out=at.corpus(corpus), copies=at.kept("corpus", corpus))


def _curation(name: str, config: Config, at: Experiment, job: Job) -> None:
    called = job.text("corpus")
    corpus, config = split(config, called)  # the configuration of this curation
    manifest, here = at.corpus(corpus).manifest, at.curation(corpus, config)
    block = None if job.given["block"] is None else job.number("block")

    def joined(size: int) -> bool:
        """Whether the job is to join blocks: one job's work is all of it where it fits into one."""
        return block is None and len(at.blocks(corpus, size)) > 1

    match name:
        case "captions":
            from cocu.concepts import captions

            captions.run(config, corpus=manifest, out=here.captions)
        case "embed":
            from cocu.clip import embed

            if joined(config.clip.shards_per_job):
                embed.join_blocks(config, corpus=manifest, out=here.embeddings)
                return
            store = Store(at.kept("embed", called))
            embed.run_images(config, corpus=manifest, clip=at.clip, out=here.embeddings, store=store, number=block)
        case "embed-vocabulary":
            from cocu.clip import embed

            embed.run_vocabulary(config, captions=here.captions, clip=at.clip, out=here.vectors)
        case "archive":
            from cocu.curate import archive

            if joined(config.curate.shards_per_job):
                archive.join_blocks(config, corpus=manifest, curation=here)
                return
            archive.run(config, corpus=manifest, curation=here, store=Store(at.kept("archive", called)), number=block)
        case "oracle":
            from cocu.mini import truth

            truth.run_oracle(config, corpus=corpus, truth=at.truth(corpus), captions=here.captions, out=here.oracle)
        case "quality":
            from cocu.mini import quality

            folders = {"truth": at.truth(corpus), "captions": here.captions, "archive": here.archive}
            quality.run(config, corpus=corpus, **folders, out=here.quality)


def _train(config: Config, at: Experiment, job: Job) -> None:
    from cocu.train import loop

    arm, seed = job.text("arm"), job.number("seed")
    corpus, own = at.corpus_of(seed), config.arm(arm)
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


def _evaluate(config: Config, at: Experiment, job: Job) -> None:
    from cocu.evaluate import job as evaluation

    arm = job.text("arm")
    benchmarks = config.evaluate.benchmarks if job.given["benchmark"] is None else [job.text("benchmark")]
    evaluation.run(config, arms=at.rows(arm), seed=job.number("seed"), benchmarks=benchmarks)


def _report(name: str, config: Config, at: Experiment) -> None:
    match name:
        case "tables":
            from cocu.report import tables

            tables.run(config, metrics=at.metrics, quality=at.qualities, out=at.tables)
        case "figures":
            from cocu.report import figures

            folders = {"metrics": at.metrics, "checkpoints": at.checkpoints, "out": at.figures}
            figures.run(config, **folders, quality=at.qualities)
        case "panel":
            from cocu.report import panel

            panel.run(config, checkpoints=at.checkpoints, metrics=at.metrics, test=at.test, out=at.figures)
