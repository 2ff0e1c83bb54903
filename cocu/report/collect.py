"""The results of an experiment in one frame, which every table and figure is a function of.

Takes R/metrics/{arm}/{seed}/{benchmark}.json; gives a pandas DataFrame with the columns of `TYPES`, a row a result, and
as results.csv. What cannot stand side by side (other images, another protocol, other classes, thresholds of different
origin, another training's weights) is refused here, so that nothing below has to look again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from cocu import layout
from cocu.config import ONE_LABEL, Config
from cocu.errors import DataError
from cocu.io import read_json

REFERENCE_SEED = 0  # a reference's one result is no seed's, and stands there
ORIGINS = {"val": "chosen on val", "published": "the published one", "none": "none"}  # of a background threshold

# miou, val_miou and the values of iou (class name -> IoU, None for a class that does not occur) are in percent. A
# benchmark without background and `one_label` have no threshold: background is nan, background_from "none".
TYPES: dict[str, Any] = {
    "arm": "str",
    "seed": "int64",
    "benchmark": "str",
    "miou": "float64",
    "images": "int64",
    "background": "float64",
    "background_from": "str",
    "val_miou": "float64",
    "protocol": "str",
    "weights": "str",
    "iou": "object",
}


class Result(BaseModel):
    """What is read of a file of the evaluation, in its own names; counts and run card stay there."""

    model_config = ConfigDict(strict=True, frozen=True)

    arm: str
    seed: int
    benchmark: str
    miou: FiniteFloat
    iou: list[FiniteFloat | None]
    classes: list[str]
    images: int = Field(ge=1)
    background: FiniteFloat | None
    val_miou: FiniteFloat | None
    protocol: str
    weights_sha256: str

    def row(self) -> dict[str, Any]:
        """Its row of the frame. Raises `ValueError` when classes and IoU are not as many."""
        chosen = "published" if self.val_miou is None else "val"
        kept = self.model_dump(exclude={"classes", "weights_sha256"})
        return kept | {
            "background_from": "none" if self.background is None else chosen,
            "weights": self.weights_sha256,
            "iou": dict(zip(self.classes, self.iou, strict=True)),
        }


def all_models(config: Config) -> list[tuple[str, int]]:
    """(arm, seed) in the tables' order: the configuration's arms by seed, `one_label`, and the references."""
    trained = [(arm, seed) for arm in (*config.arms, ONE_LABEL) for seed in config.seeds]
    return [*trained, *((name, REFERENCE_SEED) for name in config.references)]


def collect(config: Config, metrics: Path, models: Iterable[tuple[str, int]]) -> pd.DataFrame:
    """The results of the models (arm, seed) on every benchmark, in that order, with the columns and types of `TYPES`.

    metrics: the experiment's folder of that name. Raises `DataError` when a file is missing or damaged, is not the
    result that its path says, or cannot stand beside another one.
    """
    rows = [_row(metrics, *model, benchmark) for model in models for benchmark in config.evaluate.benchmarks]
    frame = pd.DataFrame(rows, columns=list(TYPES)).astype(TYPES)
    _refuse_mixtures(config, metrics, frame)
    return frame


def _row(metrics: Path, arm: str, seed: int, benchmark: str) -> dict[str, Any]:
    path = layout.result(metrics, arm, seed, benchmark)
    try:
        row = Result.model_validate(read_json(path)).row()
    except ValidationError as error:
        first = error.errors()[0]
        what = f"{'.'.join(map(str, first['loc']))}: {first['msg']}" if first["loc"] else first["msg"]
        raise DataError(f"{path} is not a result of the evaluation ({what}). Delete it and run again.") from error
    except ValueError as error:
        raise DataError(f"{path} has not one IoU a class ({error}). Delete it and run again.") from error
    if (said := (row["arm"], row["seed"], row["benchmark"])) != (arm, seed, benchmark):
        raise DataError(f"{path} holds the result of {said}. Delete it and run again.")
    return row


def _refuse_mixtures(config: Config, metrics: Path, frame: pd.DataFrame) -> None:
    def agree(values: pd.Series[Any], what: str) -> None:
        odd = values[values != values.iloc[0]]
        if len(odd):
            one, other = (
                layout.result(metrics, *frame.loc[i, ["arm", "seed", "benchmark"]])
                for i in (values.index[0], odd.index[0])
            )
            raise DataError(
                f"{one} and {other} cannot stand in one table: {what.format(values.iloc[0], odd.iloc[0])}. "
                "Delete both and run again, so that they are evaluated alike."
            )

    for _, rows in frame.groupby("benchmark", sort=False):
        agree(rows["protocol"], "they follow different protocols, {} and {}")
        agree(rows["iou"].map(", ".join), "they are of different classes")
        agree(rows["images"], "they are of {} and {} images")
        # One label an image has no threshold by its nature; whatever else has none here is no equal of those that do.
        thresholds = rows.loc[(rows["arm"] != ONE_LABEL) | (rows["background_from"] != "none"), "background_from"]
        if len(thresholds):
            agree(thresholds.map(ORIGINS), "the background threshold of one is {}, of the other {}")
    # A row of a table is one model, on all benchmarks and seed by seed; one_label is the treatment's.
    trained = frame["arm"].replace(ONE_LABEL, config.report.treatment)
    for _, rows in frame.groupby([trained, frame["seed"]], sort=False):
        agree(rows["weights"].str[:12], "they should be of one model, and are of the weights {} and {}")


def results_csv(frame: pd.DataFrame) -> str:
    """The frame as CSV, numbers with all their digits.

    iou is JSON in its cell and not a long table beside: a row stays a result, nothing has to be joined, and
    `pandas.read_csv(path, converters={"iou": json.loads})` has the dictionaries back.
    """
    texts = frame["iou"].map(lambda iou: json.dumps(iou, ensure_ascii=False))
    return frame.assign(iou=texts).to_csv(index=False, lineterminator="\n")
