# Tables and figures of the whole experiment: every arm, seed and benchmark.

RESULT = AT.result("{arm}", "{seed}", "{benchmark}")
METRICS = [
    *expand(RESULT, arm=[*CFG.arms, settings.ONE_LABEL], seed=CFG.seeds, benchmark=CFG.evaluate.benchmarks),
    *expand(RESULT, arm=[*CFG.references], seed=0, benchmark=CFG.evaluate.benchmarks),
]
SIDES = [CFG.report.baseline, CFG.report.treatment]
CURVES = [AT.checkpoint(arm, seed) / layout.CURVE for arm in CFG.arms for seed in CFG.seeds]
CURVES = CURVES if CFG.train.validate_every else []


TABLES = [AT.tables / layout.RESULTS, *table("main"), *(table("archive") if MINI else [])]
CHARTS = [*figure("miou"), *(figure("curve") if CURVES else []), *(figure("archive") if MINI else [])]
FIGURES = [*CHARTS, *figure("panel")]

for STAGE, FILES in (("tables", TABLES), ("figures", CHARTS)):

    rule:
        name:
            STAGE
        input:
            metrics=METRICS,
            curves=CURVES if STAGE == "figures" else [],
            quality=AT.qualities,
        output:
            FILES,
        log:
            AT.log(STAGE),
        benchmark:
            AT.time(STAGE)
        conda:
            ENV
        resources:
            **needs((1000, 1000), (10, 10)),
        params:
            config=CONFIG,
            stage=STAGE,
            made=made(STAGE),
        message:
            "{params.stage}"
        shell:
            "cocu stage {params.stage} --config {params.config} > {log} 2>&1"


rule panel:
    input:
        # the first seed of both sides of the comparison
        metrics=expand(RESULT, arm=SIDES, seed=CFG.seeds[0], benchmark=CFG.evaluate.benchmarks),
        models=[layout.model_files(AT.checkpoint(arm, CFG.seeds[0])) for arm in SIDES],
        data=MINI_BENCHMARKS,
    output:
        figure("panel"),
    log:
        AT.log("panel"),
    benchmark:
        AT.time("panel")
    conda:
        ENV
    threads: CFG.evaluate.threads
    resources:
        **needs((3000, 16000), (20, 60)),
    params:
        config=CONFIG,
        made=made("panel"),
    message:
        "panel of test images"
    shell:
        "cocu stage panel --config {params.config} > {log} 2>&1"
