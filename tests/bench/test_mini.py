"""The time of an experiment by stage, from what Snakemake wrote of its jobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.mini import Job, longest_chain, main, read_jobs, summary

HEAD = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def write(root: Path, name: str, wall: float, cpu: float) -> None:
    path = root / "times" / f"{name}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{HEAD}{wall}\t0:00:01\t1\t1\t1\t1\t0\t0\t99\t{cpu}\n")


def test_a_line_a_stage_and_the_bounds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "train/cocu/0", 30, 20)
    write(tmp_path, "train/cocu/1", 10, 10)
    write(tmp_path, "evaluate/cocu/0", 6, 5)
    write(tmp_path, "corpus/train0", 4, 3)
    write(tmp_path, "tables", 1, 2)
    main(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[1:6]] == [
        ["train", "2", "30.0", "40.0", "75.0%"],
        ["evaluate", "1", "5.0", "6.0", "12.5%"],
        ["corpus", "1", "3.0", "4.0", "7.5%"],
        ["tables", "1", "2.0", "1.0", "5.0%"],
        ["all", "5", "40.0", "51.0", "100.0%"],
    ]
    assert lines[6] == "longest chain: 41.0 s of the clock (corpus, train, evaluate, tables)"
    assert lines[7] == "on 2 cores, no faster than 41.0 s: 20.0 s of processor each"


def test_the_chain_takes_the_slower_way_and_is_no_sum_of_both() -> None:
    jobs = [Job("web", 1, 1), Job("corpus", 0.5, 0.5), Job("clip", 9, 9)]
    jobs += [Job("captions", 2, 2), Job("embed", 1, 1), Job("train", 3, 3)]
    assert longest_chain(jobs) == (14.0, ["web", "clip", "embed", "train"])
    assert longest_chain([]) == (0.0, [])
    assert "no faster than 14.0 s" in summary(jobs) and "no faster than 16.5 s" in summary(jobs, cores=1)


def test_a_folder_without_times_is_a_sentence(tmp_path: Path) -> None:
    assert read_jobs(tmp_path / "times") == []
    with pytest.raises(SystemExit, match="holds no times: run the experiment first"):
        main(tmp_path)
