# Pre-training: one job an arm and a seed.


# The training state is no output, so that a killed job finds it again; it is keyed by what it was made from.
rule train:
    input:
        corpus=lambda wildcards: AT.corpus(AT.corpus_of(wildcards.seed)).manifest,
        captions=trained_on,
        prompts=prompts,
        val=AT.val if MINI else [],
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
        **needs((3000, 64000), (60, 10080), gpu=gpus(1)),
    params:
        config=CONFIG,
        made=made("train"),
        curve=PROTOCOLS[showcase(CFG.evaluate.benchmarks).name] if CFG.train.validate_every else "none",
    message:
        "training {wildcards.arm}, seed {wildcards.seed}"
    shell:
        "cocu stage train --config {params.config} --arm {wildcards.arm} --seed {wildcards.seed} > {log} 2>&1"
