# Zero-shot segmentation of every benchmark by every checkpoint, by one label for the whole image, and by the references.

MINI_BENCHMARKS = [AT.benchmarks(split) for split in ("val", "test")] if MINI else []


# A reference has no seeds: its one result stands at seed 0.
rule evaluate:
    input:
        model=model,
        data=MINI_BENCHMARKS,
    output:
        result=AT.result("{arm}", "{seed}", "{benchmark}"),
    log:
        AT.log("evaluate/{arm}/{seed}/{benchmark}"),
    benchmark:
        AT.time("evaluate/{arm}/{seed}/{benchmark}")
    conda:
        ENV
    threads: CFG.evaluate.threads * CFG.evaluate.processes
    resources:
        **needs((3000, 16000), (20, 240), gpu=gpus(CFG.evaluate.processes)),
    params:
        config=CONFIG,
        made=made("evaluate"),
        reference=lambda wildcards: (
            CFG.references[wildcards.arm].model_dump_json() if wildcards.arm in CFG.references else ""
        ),
        protocol=lambda wildcards: PROTOCOLS[wildcards.benchmark],
    message:
        "{wildcards.benchmark} by {wildcards.arm}, seed {wildcards.seed}"
    shell:
        "cocu stage evaluate --config {params.config} --arm {wildcards.arm} --seed {wildcards.seed}"
        " --benchmark {wildcards.benchmark} > {log} 2>&1"


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
