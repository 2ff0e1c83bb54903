# The pairs: composed, or the user's own shards verified; and the mini experiment's benchmarks and stand-in CLIP.

PAIRS = AT.corpus("{corpus}")


rule corpus:
    output:
        manifest=PAIRS.manifest,
        index=files(layout.side_car, PAIRS.index, SHARDS),
        shards=files(layout.tar, PAIRS.shards, SHARDS) if MINI else [],
        truth=files(layout.scenes, AT.truth("{corpus}"), SHARDS) if MINI else [],
        quarantine=[] if MINI else PAIRS.quarantine,
    log:
        AT.log("corpus/{corpus}"),
    benchmark:
        AT.time("corpus/{corpus}")
    priority: 1  # most jobs wait for it, and it is the first to say what data is missing
    conda:
        ENV
    resources:
        **needs((1000, 4000), (10, 600)),
    params:
        config=CONFIG,
        made=made("mini", "corpus.mini.train_pairs") if MINI else made("corpus"),
        files=lambda wildcards: stamp.file_facts(CFG.corpus.addresses()),
    message:
        "corpus {wildcards.corpus}"
    shell:
        "cocu stage corpus --config {params.config} --corpus {wildcards.corpus} > {log} 2>&1"


if MINI:

    rule benchmarks:
        output:
            directory(AT.benchmarks("{split}")),
        log:
            AT.log("benchmarks/{split}"),
        benchmark:
            AT.time("benchmarks/{split}")
        conda:
            ENV
        resources:
            **needs((1000, 1000), (10, 10)),
        params:
            config=CONFIG,
            made=lambda wildcards: made("benchmarks", f"corpus.mini.{wildcards.split}_images")(wildcards),
        message:
            "benchmarks, {wildcards.split}"
        shell:
            "cocu stage benchmarks --config {params.config} --split {wildcards.split} > {log} 2>&1"


if STAND_IN:
    WEB = AT.corpus(layout.WEB)

    # The pairs that the stand-in learns from; no arm is trained on them, and nothing reads their truth.
    rule web:
        output:
            manifest=WEB.manifest,
            index=files(layout.side_car, WEB.index, AT.shards(layout.WEB)),
            shards=files(layout.tar, WEB.shards, AT.shards(layout.WEB)),
        log:
            AT.log("web"),
        benchmark:
            AT.time("web")
        conda:
            ENV
        resources:
            **needs((1000, 1000), (10, 10)),
        params:
            config=CONFIG,
            corpus=layout.WEB,
            made=made("mini", "corpus.mini.web_pairs"),
        message:
            "corpus {params.corpus}"
        shell:
            "cocu stage corpus --config {params.config} --corpus {params.corpus} > {log} 2>&1"

    rule clip:
        input:
            WEB.manifest,
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
            **needs((3000, 3000), (30, 30)),
        params:
            config=CONFIG,
            made=made("clip"),
        message:
            "stand-in CLIP"
        shell:
            "cocu stage clip --config {params.config} > {log} 2>&1"
