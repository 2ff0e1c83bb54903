from __future__ import annotations

from pathlib import Path

from cocu.config import Config
from cocu.standalone import standalone_config


def written(folder: Path, **files: str) -> list[Path]:
    paths = [folder / f"{name}.yaml" for name in files]
    for path, text in zip(paths, files.values(), strict=True):
        path.write_text(text)
    return paths


def test_nothing_need_be_said() -> None:
    config = standalone_config([])
    assert (config.device, config.evaluate.threads, config.curate.search.neighbours) == ("auto", 1, 8)


def test_options_lie_over_files_and_later_files_over_earlier_ones(tmp_path: Path) -> None:
    first = "evaluate: {threads: 2, limit: 5}\ncurate: {threads: 3}"
    files = written(tmp_path, first=first, second="evaluate: {limit: 6}")

    def values(config: Config) -> tuple[int, int, int]:
        return config.evaluate.threads, config.evaluate.limit, config.curate.threads

    assert values(standalone_config(files)) == (2, 6, 3)
    assert values(standalone_config(files, {"curate": {"threads": 4}})) == (2, 6, 4)


def test_a_reference_may_have_the_name_of_an_arm_that_the_file_lacks(tmp_path: Path) -> None:
    text = "arms: {plain: {}, ours: {}}\nreport: {baseline: plain, treatment: ours}\nreferences: {cocu: {hf: a/b}}"
    config = standalone_config(written(tmp_path, mine=text))
    assert (set(config.arms), set(config.references)) == ({"plain", "ours"}, {"cocu"})
