# Zero-shot segmentation of every benchmark by every checkpoint, by one label for the whole image, and by the references.

MINI_BENCHMARKS = [AT.benchmarks(split) for split in ("val", "test")] if MINI else []


TREATMENT = CFG.report.treatment
TOGETHER = CFG.evaluate.job == "model"  # whether a job takes all benchmarks, and loads its model once for them
BENCHMARKS = CFG.evaluate.benchmarks if TOGETHER else ["{benchmark}"]
EACH = [] if TOGETHER else ["{benchmark}"]

# A reference has no seeds: its one result stands at seed 0. The treatment's job has a row more, one label an image.
for ARM in ("{arm}", TREATMENT):

    rule:
        name:
            "evaluate" if ARM == "{arm}" else "evaluate_treatment"
        input:
            model=lambda wildcards: model(evaluated_arm(wildcards), wildcards.seed),
            data=MINI_BENCHMARKS,
        output:
            [AT.result(row, "{seed}", name) for row in AT.rows(ARM) for name in BENCHMARKS],
        log:
            AT.log("evaluate", ARM, "{seed}", *EACH),
        benchmark:
            AT.time("evaluate", ARM, "{seed}", *EACH)
        wildcard_constraints:
            arm="|".join(arm for arm in [*CFG.arms, *CFG.references] if arm != TREATMENT),
        conda:
            ENV
        threads: CFG.evaluate.threads * CFG.evaluate.processes
        resources:
            **needs((3000, 16000), (20 * len(BENCHMARKS), 240 * len(BENCHMARKS)), gpu=gpus(CFG.evaluate.processes)),
        params:
            config=CONFIG,
            arm=evaluated_arm,
            only="" if TOGETHER else "--benchmark {benchmark}",
            made=made("evaluate"),
            reference=lambda wildcards: (
                CFG.references[wildcards.arm].model_dump_json() if evaluated_arm(wildcards) in CFG.references else ""
            ),
            protocol=lambda wildcards: [PROTOCOLS[name.format(**wildcards)] for name in BENCHMARKS],
        message:
            "benchmarks by {params.arm}, seed {wildcards.seed}"
        shell:
            "cocu stage evaluate --config {params.config} --arm {params.arm} --seed {wildcards.seed}"
            " {params.only} > {log} 2>&1"


rule import_checkpoint:
    output:
        layout.model_files(AT.imported("{arm}")),
    log:
        AT.log("import_checkpoint/{arm}"),
    benchmark:
        AT.time("import_checkpoint/{arm}")
    conda:
        ENV
    resources:
        **needs((4000, 4000), (30, 30)),
    params:
        config=CONFIG,
        hf=lambda wildcards: CFG.references[wildcards.arm].hf,
        made=made("import"),
    message:
        "checkpoint {wildcards.arm}"
    shell:
        "cocu stage import --config {params.config} --arm {wildcards.arm} > {log} 2>&1"
