# Zero-shot segmentation of every benchmark by every checkpoint, by one label for the whole image, and by the references.

TEST = f"{R}/benchmarks/test" if MINI else CFG.evaluate.data
BENCHMARK_FILES = expand(f"{R}/benchmarks/{{split}}/manifest.json", split=["val", "test"]) if MINI else []
EVALUATION_THREADS = CFG.evaluate.threads * CFG.evaluate.processes


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
    threads: EVALUATION_THREADS
    resources:
        gpu=gpus(CFG.evaluate.processes),
        mem_mb=memory(3000, 16000),
        runtime=minutes(20, 240),
    params:
        config=CONFIG,
        settings=CFG.fingerprint("evaluate.backgrounds", "evaluate.limit"),
        protocol=lambda wildcards: PROTOCOLS[wildcards.benchmark],
        code=code_fingerprint("cocu.evaluate.stage"),
        checkpoint=subpath(input.weights, parent=True),
        val=options(val=f"{R}/benchmarks/val" if MINI else None),
        test=lambda wildcards: TEST,
        one_label=lambda wildcards: "--one-label" if wildcards.arm == settings.ONE_LABEL else "",
    message:
        "{wildcards.benchmark} by {wildcards.arm}, seed {wildcards.seed}"
    shell:
        "cocu evaluate --config {params.config} --checkpoint {params.checkpoint} --benchmark {wildcards.benchmark}"
        " {params.val} --test {params.test:q} {params.one_label} --out {output.result} > {log} 2>&1"


# A reference has no seeds: its one result stands at seed 0.
rule evaluate_reference:
    input:
        model=reference_files,
        data=BENCHMARK_FILES,
    output:
        result=f"{R}/metrics/{{reference}}/0/{{benchmark}}.json",
    log:
        f"{R}/logs/evaluate_reference/{{reference}}/{{benchmark}}.log",
    benchmark:
        f"{R}/times/evaluate_reference/{{reference}}/{{benchmark}}.tsv"
    conda:
        ENV
    threads: EVALUATION_THREADS
    resources:
        gpu=gpus(CFG.evaluate.processes),
        mem_mb=memory(3000, 16000),
        runtime=minutes(20, 240),
    params:
        config=CONFIG,
        settings=lambda wildcards: [
            CFG.fingerprint("evaluate.backgrounds", "evaluate.limit"),
            CFG.references[wildcards.reference].model_dump_json(),
        ],
        protocol=lambda wildcards: PROTOCOLS[wildcards.benchmark],
        code=code_fingerprint("cocu.evaluate.stage"),
        model=reference_option,
        val=options(val=f"{R}/benchmarks/val" if MINI else None),
        test=lambda wildcards: TEST,
    message:
        "{wildcards.benchmark} by {wildcards.reference}"
    shell:
        "cocu evaluate --config {params.config} {params.model} --benchmark {wildcards.benchmark}"
        " {params.val} --test {params.test:q} --out {output.result} > {log} 2>&1"


rule import_checkpoint:
    output:
        weights=f"{R}/references/{{reference}}/model.safetensors",
        model=f"{R}/references/{{reference}}/model.json",
    log:
        f"{R}/logs/import_checkpoint/{{reference}}.log",
    benchmark:
        f"{R}/times/import_checkpoint/{{reference}}.tsv"
    conda:
        ENV
    resources:
        mem_mb=memory(4000, 4000),
        runtime=minutes(30, 30),
    params:
        code=code_fingerprint("cocu.model.transformers"),
        hf=lambda wildcards: CFG.references[wildcards.reference].hf,
        out=subpath(output.weights, parent=True),
    message:
        "checkpoint {wildcards.reference}"
    shell:
        "cocu import --hf {params.hf:q} --out {params.out} > {log} 2>&1"
