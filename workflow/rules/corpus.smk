# The pairs: composed, or the user's own shards verified; and the mini experiment's benchmarks and stand-in CLIP.


rule corpus:
    output:
        manifest=AT.corpus("{corpus}"),
    log:
        AT.log("corpus/{corpus}"),
    benchmark:
        AT.time("corpus/{corpus}")
    priority: 1  # most jobs wait for it, and it is the first to say what data is missing
    conda:
        ENV
    resources:
        mem_mb=memory(1000, 4000),
        runtime=minutes(10, 600),
    params:
        config=CONFIG,
        settings=lambda wildcards: (
            draw("web_pairs" if wildcards.corpus == layout.WEB else "train_pairs")
            if MINI
            else CFG.fingerprint("corpus.shards")
        ),
        code=code_fingerprint("cocu.mini.build" if MINI else "cocu.pairs.verify"),
    message:
        "corpus {wildcards.corpus}"
    shell:
        "cocu stage corpus --config {params.config} --corpus {wildcards.corpus} > {log} 2>&1"


if MINI:

    rule benchmarks:
        output:
            manifest=AT.benchmarks("{split}") / layout.MANIFEST,
        log:
            AT.log("benchmarks/{split}"),
        benchmark:
            AT.time("benchmarks/{split}")
        conda:
            ENV
        resources:
            mem_mb=memory(1000, 1000),
            runtime=minutes(10, 10),
        params:
            config=CONFIG,
            settings=lambda wildcards: draw(f"{wildcards.split}_images"),
            code=code_fingerprint("cocu.mini.benchmarks"),
        message:
            "benchmarks, {wildcards.split}"
        shell:
            "cocu stage benchmarks --config {params.config} --split {wildcards.split} > {log} 2>&1"


if STAND_IN:

    rule clip:
        input:
            AT.corpus(layout.WEB),
        output:
            *layout.model_files(AT.clip),
            *stand_in(),
        log:
            AT.log("clip"),
        benchmark:
            AT.time("clip")
        conda:
            ENV
        resources:
            mem_mb=memory(3000, 3000),
            runtime=minutes(30, 30),
        params:
            config=CONFIG,
            settings=CFG.fingerprint("clip.stand_in"),
            code=code_fingerprint("cocu.mini.standin"),
        message:
            "stand-in CLIP"
        shell:
            "cocu stage clip --config {params.config} > {log} 2>&1"
