"""Where everything lies: the files of an experiment, `results/NAME`, and those of a curation, each spelled once.

The rules of the workflow, the stages that they call and the reports ask here. A name may be a wildcard of Snakemake's
("{arm}"), so that a rule's pattern and a stage's path are made by one function.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cocu.config import ONE_LABEL, Config, suggest
from cocu.errors import ConfigError
from cocu.weights import DESCRIPTION, WEIGHTS

MANIFEST = "manifest.json"  # of a folder that a stage fills; written last
WORDS = "vocabulary.txt"  # of a folder of captions: a concept a line
CURVE = "curve.csv"  # of a checkpoint
PROMPT_FOLDERS = {"caption": None, "archive": "archive", "truth": "oracle"}  # train.prompts.source -> folder
WEB = "web"  # the mini corpus that the stand-in CLIP learns from


@dataclass(frozen=True)
class Curation:
    """The folder of a corpus's curation: that of a workflow, or one that `cocu curate` writes."""

    root: Path

    @property
    def captions(self) -> Path:
        """SHARD.parquet, vocabulary.txt and manifest.json."""
        return self.root / "captions"

    @property
    def words(self) -> Path:
        return self.captions / WORDS

    @property
    def embeddings(self) -> Path:
        """SHARD.npy, and what is below."""
        return self.root / "embeddings"

    @property
    def vectors(self) -> Path:
        """Of the vocabulary."""
        return self.embeddings / "vocabulary.npy"

    def embedded(self, block: int | str) -> Path:
        """What says that a block of shards is embedded."""
        return self.embeddings / f"{block}.json"

    @property
    def archive(self) -> Path:
        """SHARD.parquet and manifest.json."""
        return self.root / "archive"

    def archived(self, block: int | str) -> Path:
        """What says that a block of the archive is made."""
        return self.archive / "blocks" / f"{block}.json"

    @property
    def oracle(self) -> Path:
        """An archive of what is truly visible."""
        return self.root / "oracle"

    @property
    def quality(self) -> Path:
        return self.root / "quality.json"

    @property
    def corpus(self) -> Path:
        """The manifest that `cocu curate` keeps beside; a workflow's lies with the experiment."""
        return self.root / "corpus" / MANIFEST


@dataclass(frozen=True)
class Experiment:
    """The files of the experiment that `config` describes, below the working folder."""

    config: Config

    @property
    def mini(self) -> bool:
        return self.config.corpus.kind == "mini"

    @property
    def stand_in(self) -> bool:
        """Whether CLIP is trained here."""
        return self.config.clip.model == "stand-in"

    @property
    def root(self) -> Path:
        return Path("results") / self.config.experiment

    @property
    def resolved(self) -> Path:
        """The configuration, every key written out: what the stages read."""
        return self.root / "config.yaml"

    @property
    def lock(self) -> Path:
        return self.root / ".lock"

    def log(self, name: str) -> Path:
        return self.root / "logs" / f"{name}.log"

    def time(self, name: str) -> Path:
        return self.root / "times" / f"{name}.tsv"

    def corpus_of(self, seed: int | str) -> str:
        """The corpus that a seed trains on: its own in the mini experiment, the one there is otherwise."""
        return f"train{seed}" if self.mini else self.config.corpus.name

    def corpus(self, corpus: str) -> Path:
        """A corpus's manifest; its shards lie beside."""
        return self.root / "corpus" / corpus / MANIFEST

    def truth(self, corpus: str) -> Path:
        """What the scenes of a mini corpus show: SHARD.npz."""
        return self.root / "truth" / corpus

    def benchmarks(self, split: str) -> Path:
        """The mini benchmarks of a split."""
        return self.root / "benchmarks" / split

    @property
    def val(self) -> Path | None:
        """Data to choose on; there is none but the mini benchmarks'."""
        return self.benchmarks("val") if self.mini else None

    @property
    def test(self) -> Path:
        """Where the benchmarks' files are."""
        return self.benchmarks("test") if self.mini else Path(self.config.evaluate.data)

    @property
    def clip(self) -> Path | None:
        """The folder of the stand-in CLIP; None for a published one."""
        return self.root / "clip" if self.stand_in else None

    def curation(self, corpus: str) -> Curation:
        return Curation(self.root / "curation" / corpus)

    def prompts(self, arm: str, seed: int | str) -> Path | None:
        """The folder that an arm's prompts are drawn from; None for the captions' own concepts."""
        folder = PROMPT_FOLDERS[self.config.arm(arm).train.prompts.source]
        return self.curation(self.corpus_of(seed)).root / folder if folder else None

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    def checkpoint(self, arm: str, seed: int | str) -> Path:
        """A trained model's folder: weights, description and `CURVE`."""
        return checkpoint(self.checkpoints, arm, seed)

    def state(self, arm: str, seed: int | str) -> Path:
        """The training states, which are no output: a killed job finds them again."""
        return self.root / "state" / arm / str(seed)

    def reference(self, name: str) -> Path | None:
        """The model folder of a reference: the user's own, or what a rule imports; None for a CLIP."""
        reference = self.config.references[name]
        if reference.clip:
            return None
        return Path(reference.checkpoint) if reference.checkpoint else self.imported(name)

    def imported(self, name: str) -> Path:
        return self.root / "references" / name

    def evaluated(self, arm: str, seed: int | str) -> Path | None:
        """The model folder behind a row of the tables: `one_label` shows the treatment's; None for a CLIP.

        Raises `ConfigError` for a row that the tables do not have.
        """
        if arm in self.config.references:
            return self.reference(arm)
        trained = self.config.report.treatment if arm == ONE_LABEL else arm
        if trained not in self.config.arms:
            known = [*self.config.arms, ONE_LABEL, *self.config.references]
            raise ConfigError(f"No arm or reference '{arm}' in the configuration{suggest(arm, known)}")
        return self.checkpoint(trained, seed)

    def rows(self, arm: str) -> list[str]:
        """The rows of the tables that an arm's model stands behind: the treatment's is also painted with one label."""
        return [arm, ONE_LABEL] if arm == self.config.report.treatment else [arm]

    @property
    def metrics(self) -> Path:
        return self.root / "metrics"

    def result(self, arm: str, seed: int | str, benchmark: str) -> Path:
        return result(self.metrics, arm, seed, benchmark)

    def kept(self, arm: str, seed: int | str, benchmark: str) -> Path:
        """A result as its job keeps it: it is no output, since Snakemake deletes the outputs of a job it repeats."""
        return result(self.root / "kept", arm, seed, benchmark)

    @property
    def qualities(self) -> list[Path]:
        """The archive's quality of every corpus that is trained on (mini only)."""
        corpora = sorted({self.corpus_of(seed) for seed in self.config.seeds})
        return [self.curation(corpus).quality for corpus in corpora] if self.mini else []

    @property
    def tables(self) -> Path:
        return self.root / "tables"

    @property
    def figures(self) -> Path:
        return self.root / "figures"


def result(metrics: Path, arm: str, seed: int | str, benchmark: str) -> Path:
    """A result below a folder of metrics."""
    return metrics / arm / str(seed) / f"{benchmark}.json"


def checkpoint(checkpoints: Path, arm: str, seed: int | str) -> Path:
    """A trained model's folder, below that of all of them."""
    return checkpoints / arm / str(seed)


def model_files(folder: Path) -> list[Path]:
    """What makes a model's folder whole."""
    return [folder / WEIGHTS, folder / DESCRIPTION]
