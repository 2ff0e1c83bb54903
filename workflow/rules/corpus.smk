# The pairs: composed, or the user's own shards verified; and the mini experiment's benchmarks and stand-in CLIP.

MANIFEST = AT.corpus("{corpus}").manifest

# The mini experiment has a corpus more, which the stand-in learns from; nothing reads its truth.
for CORPUS in ("{corpus}", layout.WEB) if STAND_IN else ("{corpus}",):
    PAIRS, TRAINED = AT.corpus(CORPUS), CORPUS != layout.WEB
    PLACE = ("corpus", CORPUS) if TRAINED else (CORPUS,)

    rule:
        name:
            "corpus" if TRAINED else "web"
        output:
            manifest=PAIRS.manifest,
            index=files(layout.side_car, PAIRS.index, AT.shards(CORPUS)),
            shards=files(layout.tar, PAIRS.shards, AT.shards(CORPUS)) if MINI else [],
            truth=files(layout.scenes, AT.truth(CORPUS), AT.shards(CORPUS)) if MINI and TRAINED else [],
            quarantine=[] if MINI else PAIRS.quarantine,
        log:
            AT.log(*PLACE),
        benchmark:
            AT.time(*PLACE)
        priority: 1  # most jobs wait for it, and it is the first to say what data is missing
        conda:
            ENV
        resources:
            **needs((1000, 4000), (10, 600)),
        params:
            config=CONFIG,
            corpus=CORPUS,
            made=made("mini", f"corpus.mini.{'train' if TRAINED else 'web'}_pairs") if MINI else made("corpus"),
            files=lambda wildcards: stamp.file_facts(CFG.corpus.addresses()),
        message:
            "corpus {params.corpus}"
        shell:
            "cocu stage corpus --config {params.config} --corpus {params.corpus} > {log} 2>&1"


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

    rule clip:
        input:
            AT.corpus(layout.WEB).manifest,
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
