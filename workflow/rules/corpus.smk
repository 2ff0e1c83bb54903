# The pairs: composed, or the user's own shards verified; and the mini experiment's benchmarks and stand-in CLIP.


rule corpus:
    message:
        "corpus {wildcards.corpus}"
    output:
        manifest=f"{R}/corpus/{{corpus}}/manifest.json",
    params:
        config=CONFIG,
        settings=CFG.fingerprint("corpus.kind", "corpus.mini" if MINI else "corpus.shards"),
        code=code_fingerprint("cocu.corpus.build"),
        out=subpath(output.manifest, parent=True),
        truth=lambda wildcards: options(truth=f"{R}/truth/{wildcards.corpus}" if MINI else None),
    log:
        f"{R}/logs/corpus/{{corpus}}.log",
    benchmark:
        f"{R}/times/corpus/{{corpus}}.tsv"
    conda:
        ENV
    resources:
        mem_mb=memory(1000, 4000),
        runtime=minutes(10, 600),
    shell:
        "cocu corpus --config {params.config} --corpus {wildcards.corpus} {params.truth} --out {params.out} > {log} 2>&1"


if MINI:

    rule benchmarks:
        message:
            "benchmarks, {wildcards.split}"
        output:
            manifest=f"{R}/benchmarks/{{split}}/manifest.json",
        params:
            config=CONFIG,
            settings=CFG.fingerprint("corpus.mini"),
            code=code_fingerprint("cocu.corpus.benchmarks"),
            out=subpath(output.manifest, parent=True),
        log:
            f"{R}/logs/benchmarks/{{split}}.log",
        benchmark:
            f"{R}/times/benchmarks/{{split}}.tsv"
        conda:
            ENV
        resources:
            mem_mb=memory(1000, 1000),
            runtime=minutes(10, 10),
        shell:
            "cocu benchmarks --config {params.config} --split {wildcards.split} --out {params.out} > {log} 2>&1"


if STAND_IN:

    rule clip:
        message:
            "stand-in CLIP"
        input:
            corpus=f"{R}/corpus/web/manifest.json",
        output:
            weights=f"{R}/clip/model.safetensors",
            model=f"{R}/clip/model.json",
            manifest=f"{R}/clip/manifest.json",
        params:
            config=CONFIG,
            settings=CFG.fingerprint("clip.stand_in"),
            code=code_fingerprint("cocu.clip.standin"),
            out=subpath(output.manifest, parent=True),
        log:
            f"{R}/logs/clip.log",
        benchmark:
            f"{R}/times/clip.tsv"
        conda:
            ENV
        resources:
            gpu=1,
            mem_mb=memory(3000, 3000),
            runtime=minutes(30, 30),
        shell:
            "cocu clip --config {params.config} --corpus {input.corpus} --out {params.out} > {log} 2>&1"
