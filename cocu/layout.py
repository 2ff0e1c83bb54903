"""Where everything lies: the files of an experiment, `results/NAME`, and those of a curation, each spelled once.

The rules, the stages that they call and the reports ask here. A name may be a wildcard of Snakemake's ("{arm}").
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cocu import variants
from cocu.config import ONE_LABEL, Config, suggest
from cocu.errors import ConfigError
from cocu.weights import DESCRIPTION, WEIGHTS

MANIFEST = "manifest.json"  # of a folder that a stage fills; written last
WORDS = "vocabulary.txt"  # of a folder of captions: a concept a line
CURVE = "curve.csv"  # of a checkpoint
RESULTS = "results.csv"  # of the tables: every result, a row each
WEB = "web"  # the mini corpus that the stand-in CLIP learns from


def side_car(folder: Path, shard: str) -> Path:
    """What a folder of captions, archives or an index holds of the shard `SET/SHARD`."""
    return folder / f"{shard}.parquet"


def rows(folder: Path, shard: str) -> Path:
    """The embeddings of a shard's images."""
    return folder / f"{shard}.npy"


def vectors_manifest(vectors: Path) -> Path:
    """What the vectors of a vocabulary were made from."""
    return vectors.with_suffix(".json")


def scenes(folder: Path, shard: str) -> Path:
    """The truth of a mini corpus's shard."""
    return folder / f"{shard}.npz"


def tar(folder: Path, shard: str) -> Path:
    """A shard that is composed here."""
    return folder / f"{shard}.tar"


@dataclass(frozen=True)
class Corpus:
    """The folder of a corpus."""

    root: Path

    @property
    def manifest(self) -> Path:
        return self.root / MANIFEST

    @property
    def index(self) -> Path:  # where a tar's pairs lie: SET/SHARD.parquet
        return self.root / "index"

    @property
    def shards(self) -> Path:
        """SET/SHARD.tar of a mini corpus."""
        return self.root / "shards"

    @property
    def quarantine(self) -> Path:  # what a lenient reading sets aside
        return self.root / "quarantine.jsonl"


@dataclass(frozen=True)
class Curation:
    """The folder of a corpus's curation, of a workflow or of `cocu curate`; what it shares with another lies there."""

    root: Path
    captions_of: Path | None = None
    embeddings_of: Path | None = None
    vocabulary_of: Path | None = None

    @property
    def captions(self) -> Path:
        """SET/SHARD.parquet, vocabulary.txt and manifest.json."""
        return (self.captions_of or self.root) / "captions"

    @property
    def words(self) -> Path:
        return self.captions / WORDS

    @property
    def embeddings(self) -> Path:
        """SET/SHARD.npy, and the manifests of the blocks."""
        return (self.embeddings_of or self.root) / "embeddings"

    @property
    def vectors(self) -> Path:  # of the vocabulary
        return (self.vocabulary_of or self.root) / "vocabulary.npy"

    @property
    def archive(self) -> Path:
        """SET/SHARD.parquet and manifest.json."""
        return self.root / "archive"

    @property
    def oracle(self) -> Path:
        """An archive of what is truly visible."""
        return self.root / "oracle"

    def prompts(self, source: str) -> Path | None:
        """What prompts of a source are drawn from; None for the captions' own concepts."""
        return {"caption": None, "archive": self.archive, "truth": self.oracle}[source]

    @property
    def quality(self) -> Path:
        return self.root / "quality.json"

    @property
    def corpus(self) -> Corpus:
        """The corpus that `cocu curate` keeps beside; a workflow's lies with the experiment."""
        return Corpus(self.root / "corpus")

    @property
    def state(self) -> Path:
        """Finished parts that `cocu curate` goes on from; a workflow's lie with the experiment."""
        return self.root / "state"


def block(folder: Path, number: int | str) -> Path:
    """What says that a block of shards of a folder is made."""
    return folder / "blocks" / f"{number}.json"


def blocks(shards: Iterable[str], size: int) -> list[list[str]]:
    """Shards in blocks of `size`, sorted by name, so that the order in which a manifest lists them changes nothing."""
    ordered = sorted(shards)
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]


@dataclass(frozen=True)
class Experiment:
    """The files of the experiment that `config` describes, below the working folder."""

    config: Config

    @property
    def mini(self) -> bool:
        return self.config.corpus.kind == "mini"

    @property
    def stand_in(self) -> bool:  # CLIP is trained here
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

    def log(self, *names: str) -> Path:
        return self.root / "logs" / f"{'/'.join(names)}.log"

    def time(self, *names: str) -> Path:
        return self.root / "times" / f"{'/'.join(names)}.tsv"

    def corpus_of(self, seed: int | str) -> str:
        """The corpus that a seed trains on: its own in the mini experiment, the one there is otherwise."""
        return f"train{seed}" if self.mini else self.config.corpus.name

    def corpus(self, corpus: str) -> Corpus:
        return Corpus(self.root / "corpus" / corpus)

    def shards(self, corpus: str) -> list[str]:
        """The shards of a corpus in order, each `SET/SHARD`; a mini corpus is one set, called as it is."""
        section = self.config.corpus
        if not self.mini:
            return [f"{one.name}/{name}" for one in section.sets for name in one.shard_names()]
        pairs = section.mini.web_pairs if corpus == WEB else section.mini.train_pairs
        return [f"{corpus}/{number:05d}" for number in range(-(-pairs // section.mini.pairs_per_shard))]

    def blocks(self, corpus: str, size: int) -> list[list[str]]:
        """The shards of a corpus in blocks that are one job's each, sorted by name."""
        return blocks(self.shards(corpus), size)

    def truth(self, corpus: str) -> Path:
        """What the scenes of a mini corpus show: SET/SHARD.npz."""
        return self.root / "truth" / corpus

    def benchmarks(self, split: str) -> Path:  # the mini ones
        return self.root / "benchmarks" / split

    @property
    def val(self) -> Path | None:
        """Data to choose on; there is none but the mini benchmarks'."""
        return self.benchmarks("val") if self.mini else None

    @property
    def test(self) -> Path:  # where the benchmarks' files are
        return self.benchmarks("test") if self.mini else Path(self.config.evaluate.data)

    @property
    def clip(self) -> Path | None:
        """The folder of the stand-in CLIP; None for a published one."""
        return self.root / "clip" if self.stand_in else None

    def curation(self, corpus: str, like: Config | None = None) -> Curation:
        """A corpus's curation as the configuration `like`, an arm's for one, asks for it; else as the experiment's."""
        parts = (variants.ARCHIVE, variants.CAPTIONS, variants.EMBEDDINGS, variants.VOCABULARY)
        names = [corpus + variants.suffix(self.config, like or self.config, part) for part in parts]
        return Curation(*(self.root / "curation" / name for name in names))

    def prompts(self, arm: str, seed: int | str) -> Path | None:
        config = self.config.arm(arm)
        return self.curation(self.corpus_of(seed), config).prompts(config.train.prompts.source)

    def kept(self, stage: str, name: str) -> Path:
        """Finished parts of a stage's results, which are no output: a killed job finds them again."""
        return self.root / "state" / stage / name

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    def checkpoint(self, arm: str, seed: int | str) -> Path:
        """A trained model's folder: weights, description and `CURVE`."""
        return checkpoint(self.checkpoints, arm, seed)

    def state(self, arm: str, seed: int | str) -> Path:
        return self.kept("train", arm) / str(seed)

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

    @property
    def qualities(self) -> list[Path]:
        """The quality of the treatment's archive of every corpus that is trained on (mini only)."""
        treatment = self.config.arm(self.config.report.treatment)
        corpora = sorted({self.corpus_of(seed) for seed in self.config.seeds}) if self.mini else []
        return [self.curation(corpus, treatment).quality for corpus in corpora]

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
