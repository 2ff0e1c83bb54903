# Tables and figures of the whole experiment: every arm, seed and benchmark.

METRICS = expand(
    rules.evaluate.output.result,
    arm=[*CFG.arms, settings.ONE_LABEL],
    seed=CFG.seeds,
    benchmark=CFG.evaluate.benchmarks,
)
SIDES = [CFG.report.baseline, CFG.report.treatment]
QUALITY = expand(f"{R}/curation/{{corpus}}/quality.json", corpus=CORPORA) if MINI else []
CURVES = expand(rules.train.output.curve, arm=CFG.arms, seed=CFG.seeds) if CFG.train.validate_every else []


def table(name):
    """A table's files; the CSV goes into the HTML report."""
    csv = report(f"{R}/tables/{name}.csv", caption=f"../report/{name}.rst", category="Tables", labels={"table": name})
    return [csv, f"{R}/tables/{name}.md"]


def figure(name):
    """A figure's files; the SVG goes into the HTML report."""
    svg = report(f"{R}/figures/{name}.svg", caption=f"../report/{name}.rst", category="Figures", labels={"figure": name})
    return [svg, f"{R}/figures/{name}.png"]


rule tables:
    message:
        "tables"
    input:
        metrics=METRICS,
        quality=QUALITY,
    output:
        *table("main"),
        *(table("archive") if MINI else []),
    params:
        config=CONFIG,
        settings=CFG.fingerprint("report.baseline", "report.treatment", "report.confidence", "evaluate.benchmarks"),
        code=code_fingerprint("cocu.report.tables"),
        metrics=f"{R}/metrics",
        quality=" ".join(f"--quality {file}" for file in QUALITY),
        out=f"{R}/tables",
    log:
        f"{R}/logs/tables.log",
    benchmark:
        f"{R}/times/tables.tsv"
    conda:
        ENV
    resources:
        mem_mb=memory(1000, 1000),
        runtime=minutes(10, 10),
    shell:
        "cocu tables --config {params.config} --metrics {params.metrics} {params.quality} --out {params.out} > {log} 2>&1"


rule figures:
    message:
        "figures"
    input:
        metrics=METRICS,
        curves=CURVES,
        quality=QUALITY,
    output:
        *figure("miou"),
        *(figure("curve") if CURVES else []),
        *(figure("archive") if MINI else []),
    params:
        config=CONFIG,
        settings=CFG.fingerprint("report.baseline", "report.treatment", "report.confidence", "evaluate.benchmarks"),
        code=code_fingerprint("cocu.report.figures"),
        metrics=f"{R}/metrics",
        checkpoints=f"{R}/checkpoints",
        quality=" ".join(f"--quality {file}" for file in QUALITY),
        out=f"{R}/figures",
    log:
        f"{R}/logs/figures.log",
    benchmark:
        f"{R}/times/figures.tsv"
    conda:
        ENV
    resources:
        mem_mb=memory(1000, 1000),
        runtime=minutes(10, 10),
    shell:
        "cocu figures --config {params.config} --metrics {params.metrics} --checkpoints {params.checkpoints}"
        " {params.quality} --out {params.out} > {log} 2>&1"


rule panel:
    message:
        "panel of test images"
    input:
        # the first seed of both sides of the comparison
        metrics=expand(rules.evaluate.output.result, arm=SIDES, seed=CFG.seeds[0], benchmark=CFG.evaluate.benchmarks),
        models=expand(rules.train.output.weights, arm=SIDES, seed=CFG.seeds[0]),
        data=BENCHMARK_FILES,
    output:
        *figure("panel"),
    params:
        config=CONFIG,
        settings=CFG.fingerprint("report", "evaluate.benchmarks"),
        code=code_fingerprint("cocu.report.panel"),
        metrics=f"{R}/metrics",
        checkpoints=f"{R}/checkpoints",
        test=TEST,
        out=f"{R}/figures",
    log:
        f"{R}/logs/panel.log",
    benchmark:
        f"{R}/times/panel.tsv"
    conda:
        ENV
    threads: CFG.evaluate.threads
    resources:
        gpu=1,
        mem_mb=memory(3000, 16000),
        runtime=minutes(20, 60),
    shell:
        "cocu panel --config {params.config} --checkpoints {params.checkpoints} --metrics {params.metrics}"
        " --test {params.test} --out {params.out} > {log} 2>&1"


TABLES = rules.tables.output
FIGURES = [*rules.figures.output, *rules.panel.output]
