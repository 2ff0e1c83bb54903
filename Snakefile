"""One experiment of cocu, from image-text pairs to tables and figures: `snakemake --cores all --resources gpu=8`.

The configuration decides everything; config/config.yaml explains each key. The rules call `cocu stage NAME`; the paths are cocu.layout's.
"""

import sys
from pathlib import Path

from snakemake.utils import min_version

from cocu.config import dump
from cocu.io import hold, write_text

min_version("9.8")


configfile: "config/config.yaml"


# Jobs find this environment's `cocu` whether or not it is activated, and fail with the first command that fails.
shell.prefix(f'set -euo pipefail; export PATH="{Path(sys.executable).parent}:$PATH"; ')


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/corpus.smk"
include: "workflow/rules/curate.smk"
include: "workflow/rules/pretrain.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"


# Before the first job, and not in a dry run: what is configured can be made, one workflow at a time works on an experiment,
# and the verbs read its configuration from a file. The rules' fingerprints, not that file's time, decide what runs again.
onstart:
    from cocu.preflight import check  # it imports torch: too slow for every job

    with told():
        check(CFG)
        hold(AT.lock)
    write_text(CONFIG, dump(CFG))


rule all:
    default_target: True
    input:
        TABLES,
        FIGURES,
    localrule: True
