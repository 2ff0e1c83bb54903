"""Lenient reading: what is wrong with a shard's samples, so that they can be set aside and counted.

Takes a tar; gives the names of its broken samples with the reason, after every image was decoded and every caption
read. A tar that is cut or damaged is set aside as a whole: what comes after the damage cannot be known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from cocu.errors import DataError
from cocu.pairs.images import decode_image
from cocu.pairs.reader import ShardReader
from cocu.pairs.shards import ShardFile, classify, index_shard, members

BATCH = 256  # samples in memory at a time


@dataclass(frozen=True)
class Inspection:
    """What one shard holds: `good` samples, `other` members, and the broken samples with their reasons.

    `damage` says why the whole shard is set aside; `good` then counts what could still be seen of it.
    """

    good: int
    other: int = 0
    broken: dict[str, str] = field(default_factory=dict)
    damage: str = ""


def inspect_shard(path: Path, shard: str, threads: int) -> Inspection:
    """Look at every member, image and caption of the tar of `shard`, SET/SHARD. Broken samples come in tar order."""
    broken: dict[str, str] = {}
    kinds: dict[str, list[str]] = {}
    other = 0
    try:
        for member in members(path):
            try:
                kind, name = classify(path, member)
            except DataError as error:
                broken[member.name] = _reason(error, path)
                continue
            if not kind:
                other += not member.isdir()
                continue
            kinds.setdefault(name, []).append(kind)
    except DataError as error:
        return Inspection(len(kinds), other, {}, _reason(error, path))
    for name, found in kinds.items():
        if len(found) > len(set(found)):
            broken[name] = "the name is given twice"
        elif len(found) < 2:
            broken[name] = f"{'text' if found == ['image'] else 'image'} missing"
    sound = len(kinds.keys() - broken.keys())
    if not sound:
        return Inspection(len(kinds), other, broken, "no sample of it is sound")
    file = ShardFile(path, shard, sound, 0, "", path)
    reader = ShardReader([file], [index_shard(path, broken.keys())])

    def fault(i: int) -> str:
        try:
            decode_image(reader.image(i), reader.key(i))
            reader.caption(i)
        except DataError as error:
            return _reason(error, path)
        return ""

    try:
        with ThreadPoolExecutor(threads) as pool:
            for start in range(0, sound, BATCH):
                rows = range(start, min(start + BATCH, sound))
                for i, reason in zip(rows, pool.map(fault, rows), strict=True):
                    if reason:
                        broken[reader.key(i).split("/", 2)[2]] = reason
    finally:
        reader.close()
    good = len(kinds.keys() - broken.keys())
    return Inspection(good, other, broken, "" if good else "no sample of it is sound")


def check_share(found: Sequence[Inspection], most: float, where: Path) -> None:
    """Raise `DataError` when more than `most` of all samples are broken; `where` lists them.

    A shard that is set aside counts as many broken samples as were seen of it, and no fewer than a sound one has.
    """
    sound = [one.good + len(one.broken) for one in found if not one.damage]
    usual = round(sum(sound) / len(sound)) if sound else 1
    good = sum(one.good for one in found if not one.damage)
    bad = sum(max(one.good, usual) if one.damage else len(one.broken) for one in found)
    if not good or bad > most * (good + bad):
        raise DataError(
            f"{bad:,} of {good + bad:,} samples are broken ({bad / max(good + bad, 1):.1%}, and corpus.max_bad is "
            f"{most:.1%}): {_frequent(found)}. They are listed in {where}. Get the shards again, or raise "
            "corpus.max_bad."
        )


def _frequent(found: Iterable[Inspection]) -> str:
    """The three most frequent reasons."""
    reasons = Counter(reason.split(" (")[0] for one in found for reason in [*one.broken.values(), one.damage] if reason)
    return "; ".join(f"{reason} ({count:,})" for reason, count in reasons.most_common(3))


def _reason(error: DataError, path: Path) -> str:
    """The error's first sentence, without the shard that every line names."""
    return str(error).replace(f"{path}: ", "").replace(f"{path} ", "").split(". ")[0]
