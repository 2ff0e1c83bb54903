# Zero-shot segmentation of every benchmark by every checkpoint, and by one label for the whole image.

TEST = f"{R}/benchmarks/test" if MINI else CFG.evaluate.data
BENCHMARK_FILES = expand(f"{R}/benchmarks/{{split}}/manifest.json", split=["val", "test"]) if MINI else []


rule evaluate:
    input:
        weights=checkpoint(rules.train.output.weights),
        model=checkpoint(rules.train.output.model),
        data=BENCHMARK_FILES,
    output:
        result=f"{R}/metrics/{{arm}}/{{seed}}/{{benchmark}}.json",
    log:
        f"{R}/logs/evaluate/{{arm}}/{{seed}}/{{benchmark}}.log",
    benchmark:
        f"{R}/times/evaluate/{{arm}}/{{seed}}/{{benchmark}}.tsv"
    wildcard_constraints:
        arm="|".join([*CFG.arms, settings.ONE_LABEL]),
    conda:
        ENV
    threads: CFG.evaluate.threads
    resources:
        gpu=1,
        mem_mb=memory(3000, 16000),
        runtime=minutes(20, 240),
    params:
        config=CONFIG,
        settings=CFG.fingerprint("evaluate.backgrounds", "evaluate.limit"),
        protocol=lambda wildcards: PROTOCOLS[wildcards.benchmark],
        code=code_fingerprint("cocu.segment.evaluate"),
        checkpoint=subpath(input.weights, parent=True),
        val=options(val=f"{R}/benchmarks/val" if MINI else None),
        test=lambda wildcards: TEST,
        one_label=lambda wildcards: "--one-label" if wildcards.arm == settings.ONE_LABEL else "",
    message:
        "{wildcards.benchmark} by {wildcards.arm}, seed {wildcards.seed}"
    shell:
        "cocu evaluate --config {params.config} --checkpoint {params.checkpoint} --benchmark {wildcards.benchmark}"
        " {params.val} --test {params.test:q} {params.one_label} --out {output.result} > {log} 2>&1"
