# Pre-training: one job an arm and a seed.

# Where the prompts of an arm come from, beside the captions.
PROMPT_FOLDERS = {"caption": None, "archive": "archive", "truth": "oracle"}
CHECKPOINT = f"{R}/checkpoints/{{arm}}/{{seed}}"


def prompt_folder(wildcards):
    folder = PROMPT_FOLDERS[CFG.arm(wildcards.arm).train.prompts.source]
    return f"{R}/curation/{corpus_of(wildcards.seed)}/{folder}" if folder else None


def prompt_manifest(wildcards):
    folder = prompt_folder(wildcards)
    return f"{folder}/manifest.json" if folder else []


# The training state is no output, so that a killed job finds it again: state/ARM/SEED, keyed by what it was made from.
rule train:
    message:
        "training {wildcards.arm}, seed {wildcards.seed}"
    input:
        corpus=lambda wildcards: f"{R}/corpus/{corpus_of(wildcards.seed)}/manifest.json",
        captions=lambda wildcards: f"{R}/curation/{corpus_of(wildcards.seed)}/captions/manifest.json",
        prompts=prompt_manifest,
        val=f"{R}/benchmarks/val/manifest.json" if MINI else [],
    output:
        weights=f"{CHECKPOINT}/model.safetensors",
        model=f"{CHECKPOINT}/model.json",
        curve=f"{CHECKPOINT}/curve.csv",
    params:
        config=CONFIG,
        settings=lambda wildcards: CFG.arm(wildcards.arm).fingerprint("model", "train"),
        code=code_fingerprint("cocu.train.loop"),
        captions=subpath(input.captions, parent=True),
        archive=lambda wildcards: options(archive=prompt_folder(wildcards)),
        val=options(val=f"{R}/benchmarks/val" if MINI else None),
        out=subpath(output.weights, parent=True),
        state=lambda wildcards: f"{R}/state/{wildcards.arm}/{wildcards.seed}",
    log:
        f"{R}/logs/train/{{arm}}/{{seed}}.log",
    benchmark:
        f"{R}/times/train/{{arm}}/{{seed}}.tsv"
    conda:
        ENV
    threads: CFG.train.threads
    resources:
        gpu=1,
        mem_mb=memory(3000, 64000),
        runtime=minutes(60, 10080),
    shell:
        "cocu train --config {params.config} --arm {wildcards.arm} --seed {wildcards.seed} --corpus {input.corpus}"
        " --captions {params.captions} {params.archive} {params.val} --out {params.out} --state {params.state}"
        " > {log} 2>&1"
