# Pre-training: one job an arm and a seed.

CHECKPOINT = f"{R}/checkpoints/{{arm}}/{{seed}}"


# The training state is no output, so that a killed job finds it again: state/ARM/SEED, keyed by what it was made from.
rule train:
    input:
        corpus=lambda wildcards: f"{R}/corpus/{corpus_of(wildcards.seed)}/manifest.json",
        captions=lambda wildcards: f"{R}/curation/{corpus_of(wildcards.seed)}/captions/manifest.json",
        prompts=prompt_manifest,
        val=f"{R}/benchmarks/val/manifest.json" if MINI else [],
    output:
        weights=f"{CHECKPOINT}/model.safetensors",
        model=f"{CHECKPOINT}/model.json",
        curve=f"{CHECKPOINT}/curve.csv",
    log:
        f"{R}/logs/train/{{arm}}/{{seed}}.log",
    benchmark:
        f"{R}/times/train/{{arm}}/{{seed}}.tsv"
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
        captions=subpath(input.captions, parent=True),
        archive=lambda wildcards: options(archive=prompt_folder(wildcards)),
        val=options(val=f"{R}/benchmarks/val" if MINI else None),
        out=subpath(output.weights, parent=True),
        state=lambda wildcards: f"{R}/state/{wildcards.arm}/{wildcards.seed}",
    message:
        "training {wildcards.arm}, seed {wildcards.seed}"
    shell:
        "cocu train --config {params.config} --arm {wildcards.arm} --seed {wildcards.seed} --corpus {input.corpus}"
        " --captions {params.captions} {params.archive} {params.val} --out {params.out} --state {params.state}"
        " > {log} 2>&1"
