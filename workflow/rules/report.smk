# Tables and figures of the whole experiment: every arm, seed and benchmark.

METRICS = [
    *expand(
        rules.evaluate.output.result,
        arm=[*CFG.arms, settings.ONE_LABEL],
        seed=CFG.seeds,
        benchmark=CFG.evaluate.benchmarks,
    ),
    *expand(rules.evaluate_reference.output.result, reference=[*CFG.references], benchmark=CFG.evaluate.benchmarks),
]
SIDES = [CFG.report.baseline, CFG.report.treatment]
QUALITY = expand(f"{R}/curation/{{corpus}}/quality.json", corpus=CORPORA) if MINI else []
CURVES = expand(rules.train.output.curve, arm=CFG.arms, seed=CFG.seeds) if CFG.train.validate_every else []


rule tables:
    input:
        metrics=METRICS,
        quality=QUALITY,
    output:
        *table("main"),
        *(table("archive") if MINI else []),
    log:
        f"{R}/logs/tables.log",
    benchmark:
        f"{R}/times/tables.tsv"
    conda:
        ENV
    resources:
        mem_mb=memory(1000, 1000),
        runtime=minutes(10, 10),
    params:
        config=CONFIG,
        settings=CFG.fingerprint(
            "report.baseline", "report.treatment", "report.confidence", "evaluate.benchmarks", "references"
        ),
        code=code_fingerprint("cocu.report.tables"),
        metrics=lambda wildcards: f"{R}/metrics",
        quality=" ".join(f"--quality {file}" for file in QUALITY),
        out=lambda wildcards, output: Path(output[0]).parent,
    message:
        "tables"
    shell:
        "cocu tables --config {params.config} --metrics {params.metrics} {params.quality} --out {params.out} > {log} 2>&1"


rule figures:
    input:
        metrics=METRICS,
        curves=CURVES,
        quality=QUALITY,
    output:
        *figure("miou"),
        *(figure("curve") if CURVES else []),
        *(figure("archive") if MINI else []),
    log:
        f"{R}/logs/figures.log",
    benchmark:
        f"{R}/times/figures.tsv"
    conda:
        ENV
    resources:
        mem_mb=memory(1000, 1000),
        runtime=minutes(10, 10),
    params:
        config=CONFIG,
        settings=CFG.fingerprint(
            "report.baseline", "report.treatment", "report.confidence", "evaluate.benchmarks", "references"
        ),
        code=code_fingerprint("cocu.report.figures"),
        metrics=lambda wildcards: f"{R}/metrics",
        checkpoints=lambda wildcards: f"{R}/checkpoints",
        quality=" ".join(f"--quality {file}" for file in QUALITY),
        out=lambda wildcards, output: Path(output[0]).parent,
    message:
        "figures"
    shell:
        "cocu figures --config {params.config} --metrics {params.metrics} --checkpoints {params.checkpoints}"
        " {params.quality} --out {params.out} > {log} 2>&1"


rule panel:
    input:
        # the first seed of both sides of the comparison
        metrics=expand(rules.evaluate.output.result, arm=SIDES, seed=CFG.seeds[0], benchmark=CFG.evaluate.benchmarks),
        models=expand(rules.train.output.weights, arm=SIDES, seed=CFG.seeds[0]),
        data=BENCHMARK_FILES,
    output:
        *figure("panel"),
    log:
        f"{R}/logs/panel.log",
    benchmark:
        f"{R}/times/panel.tsv"
    conda:
        ENV
    threads: CFG.evaluate.threads
    resources:
        mem_mb=memory(3000, 16000),
        runtime=minutes(20, 60),
    params:
        config=CONFIG,
        settings=CFG.fingerprint("report", "evaluate.benchmarks"),
        code=code_fingerprint("cocu.report.panel"),
        metrics=lambda wildcards: f"{R}/metrics",
        checkpoints=lambda wildcards: f"{R}/checkpoints",
        test=lambda wildcards: TEST,
        out=lambda wildcards, output: Path(output[0]).parent,
    message:
        "panel of test images"
    shell:
        "cocu panel --config {params.config} --checkpoints {params.checkpoints} --metrics {params.metrics}"
        " --test {params.test:q} --out {params.out} > {log} 2>&1"


TABLES = rules.tables.output
FIGURES = [*rules.figures.output, *rules.panel.output]
