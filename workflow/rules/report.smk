# Tables and figures of the whole experiment: every arm, seed and benchmark.

RESULT = AT.result("{arm}", "{seed}", "{benchmark}")
METRICS = [
    *expand(RESULT, arm=[*CFG.arms, settings.ONE_LABEL], seed=CFG.seeds, benchmark=CFG.evaluate.benchmarks),
    *expand(RESULT, arm=[*CFG.references], seed=0, benchmark=CFG.evaluate.benchmarks),
]
SIDES = [CFG.report.baseline, CFG.report.treatment]
CURVES = [AT.checkpoint(arm, seed) / layout.CURVE for arm in CFG.arms for seed in CFG.seeds]
CURVES = CURVES if CFG.train.validate_every else []


rule tables:
    input:
        metrics=METRICS,
        quality=AT.qualities,
    output:
        AT.tables / layout.RESULTS,
        *table("main"),
        *(table("archive") if MINI else []),
    log:
        AT.log("tables"),
    benchmark:
        AT.time("tables")
    conda:
        ENV
    resources:
        **needs((1000, 1000), (10, 10)),
    params:
        config=CONFIG,
        made=made("tables"),
    message:
        "tables"
    shell:
        "cocu stage tables --config {params.config} > {log} 2>&1"


rule figures:
    input:
        metrics=METRICS,
        curves=CURVES,
        quality=AT.qualities,
    output:
        *figure("miou"),
        *(figure("curve") if CURVES else []),
        *(figure("archive") if MINI else []),
    log:
        AT.log("figures"),
    benchmark:
        AT.time("figures")
    conda:
        ENV
    resources:
        **needs((1000, 1000), (10, 10)),
    params:
        config=CONFIG,
        made=made("figures"),
    message:
        "figures"
    shell:
        "cocu stage figures --config {params.config} > {log} 2>&1"


rule panel:
    input:
        # the first seed of both sides of the comparison
        metrics=expand(RESULT, arm=SIDES, seed=CFG.seeds[0], benchmark=CFG.evaluate.benchmarks),
        models=[layout.model_files(AT.checkpoint(arm, CFG.seeds[0])) for arm in SIDES],
        data=MINI_BENCHMARKS,
    output:
        *figure("panel"),
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


TABLES = rules.tables.output
FIGURES = [*rules.figures.output, *rules.panel.output]
