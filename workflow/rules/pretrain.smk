# Pre-training: one job an arm and a seed.


# The training state is no output, so that a killed job finds it again; it is keyed by what it was made from.
rule train:
    input:
        corpus=lambda wildcards: AT.corpus(AT.corpus_of(wildcards.seed)),
        captions=lambda wildcards: AT.curation(AT.corpus_of(wildcards.seed)).captions / layout.MANIFEST,
        prompts=prompts,
        val=AT.val / layout.MANIFEST if MINI else [],
    output:
        *layout.model_files(AT.checkpoint("{arm}", "{seed}")),
        AT.checkpoint("{arm}", "{seed}") / layout.CURVE,
    log:
        AT.log("train/{arm}/{seed}"),
    benchmark:
        AT.time("train/{arm}/{seed}")
    wildcard_constraints:
        arm="|".join(CFG.arms),
    conda:
        ENV
    threads: CFG.train.threads
    resources:
        gpu=gpus(1),
        mem_mb=memory(3000, 64000),
        runtime=minutes(60, 10080),
    params:
        config=CONFIG,
        settings=lambda wildcards: CFG.arm(wildcards.arm).fingerprint("model", "train"),
        curve=PROTOCOLS[showcase(CFG.evaluate.benchmarks).name] if CFG.train.validate_every else "none",
        code=code_fingerprint("cocu.train.loop"),
    message:
        "training {wildcards.arm}, seed {wildcards.seed}"
    shell:
        "cocu stage train --config {params.config} --arm {wildcards.arm} --seed {wildcards.seed} > {log} 2>&1"
