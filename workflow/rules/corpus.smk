# The pairs: composed, or the user's own shards verified; and the mini experiment's benchmarks and stand-in CLIP.


rule corpus:
    output:
        manifest=f"{R}/corpus/{{corpus}}/manifest.json",
    log:
        f"{R}/logs/corpus/{{corpus}}.log",
    benchmark:
        f"{R}/times/corpus/{{corpus}}.tsv"
    priority: 1  # most jobs wait for it, and it is the first to say what data is missing
    conda:
        ENV
    resources:
        mem_mb=memory(1000, 4000),
        runtime=minutes(10, 600),
    params:
        config=CONFIG,
        settings=lambda wildcards: (
            draw("web_pairs" if wildcards.corpus == "web" else "train_pairs")
            if MINI
            else CFG.fingerprint("corpus.shards")
        ),
        code=code_fingerprint("cocu.mini.build" if MINI else "cocu.pairs.verify"),
        out=subpath(output.manifest, parent=True),
        truth=lambda wildcards: options(truth=f"{R}/truth/{wildcards.corpus}" if MINI else None),
    message:
        "corpus {wildcards.corpus}"
    shell:
        "cocu corpus --config {params.config} --corpus {wildcards.corpus} {params.truth} --out {params.out} > {log} 2>&1"


if MINI:

    rule benchmarks:
        output:
            manifest=f"{R}/benchmarks/{{split}}/manifest.json",
        log:
            f"{R}/logs/benchmarks/{{split}}.log",
        benchmark:
            f"{R}/times/benchmarks/{{split}}.tsv"
        conda:
            ENV
        resources:
            mem_mb=memory(1000, 1000),
            runtime=minutes(10, 10),
        params:
            config=CONFIG,
            settings=lambda wildcards: draw(f"{wildcards.split}_images"),
            code=code_fingerprint("cocu.mini.benchmarks"),
            out=subpath(output.manifest, parent=True),
        message:
            "benchmarks, {wildcards.split}"
        shell:
            "cocu benchmarks --config {params.config} --split {wildcards.split} --out {params.out} > {log} 2>&1"


if STAND_IN:

    rule clip:
        input:
            corpus=f"{R}/corpus/web/manifest.json",
        output:
            weights=f"{R}/clip/model.safetensors",
            model=f"{R}/clip/model.json",
            manifest=f"{R}/clip/manifest.json",
        log:
            f"{R}/logs/clip.log",
        benchmark:
            f"{R}/times/clip.tsv"
        conda:
            ENV
        resources:
            mem_mb=memory(3000, 3000),
            runtime=minutes(30, 30),
        params:
            config=CONFIG,
            settings=CFG.fingerprint("clip.stand_in"),
            code=code_fingerprint("cocu.mini.standin"),
            out=subpath(output.manifest, parent=True),
        message:
            "stand-in CLIP"
        shell:
            "cocu clip --config {params.config} --corpus {input.corpus} --out {params.out} > {log} 2>&1"
