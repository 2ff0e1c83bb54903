# Concept curation: vocabulary and concepts of the captions, embeddings by CLIP, the archive, and its quality.

CURATION = AT.curation("{corpus}{variant}")
POOL = layout.Curation(Path(CFG.curate.pool)).words if CFG.curate.pool else ""
# The stand-in's embeddings are made on the CPU, alike on every machine; so are the searches that approximate.
CLIP_GPUS = gpus(0 if STAND_IN else 1)
SEARCH_GPUS = gpus(1 if CFG.curate.search.index in ("auto", "exact") else 0)


rule captions:
    input:
        corpus=MANIFEST,
        words=[file for file in (CFG.curate.vocabulary.file or POOL,) if file],
    output:
        manifest=CURATION.captions / layout.MANIFEST,
        words=CURATION.words,
        captions=files(layout.side_car, CURATION.captions, SHARDS),
    log:
        AT.log("captions/{corpus}{variant}"),
    benchmark:
        AT.time("captions/{corpus}{variant}")
    conda:
        ENV
    resources:
        **needs((1000, 16000), (10, 240)),
    params:
        config=CONFIG,
        made=made_here("captions", "curate.pool"),
        held_out=held_out,
    message:
        "concepts of the captions of {wildcards.corpus}{wildcards.variant}"
    shell:
        "cocu stage captions --config {params.config} --corpus {wildcards.corpus}{wildcards.variant} > {log} 2>&1"


for JOB, LOG, NUMBER, PART, JOINED in jobs("embed", CFG.clip.shards_per_job):

    rule:
        name:
            JOB
        input:
            corpus=MANIFEST,
            clip=clip_weights(),
            parts=[layout.block(CURATION.embeddings, number) for number in range(JOINED)],
        output:
            manifest=finished(CURATION.embeddings, NUMBER),
            embeddings=files(layout.rows, CURATION.embeddings, PART),
        log:
            AT.log(LOG),
        benchmark:
            AT.time(LOG)
        conda:
            ENV
        threads: CFG.clip.threads
        resources:
            **needs((2000, 16000), (10, 240), gpu=0 if JOINED else CLIP_GPUS),
        params:
            config=CONFIG,
            block="" if NUMBER is None else f"--block {NUMBER}",
            made=made_here("embed", "clip.model", "clip.pretrained"),
        message:
            f"{JOB}: embeddings of {{wildcards.corpus}}{{wildcards.variant}}"
        shell:
            "cocu stage embed --config {params.config} --corpus {wildcards.corpus}{wildcards.variant}"
            " {params.block} > {log} 2>&1"


rule embed_vocabulary:
    input:
        captions=captions,
        clip=clip_weights(),
    output:
        manifest=layout.vectors_manifest(CURATION.vectors),
        vectors=CURATION.vectors,
    log:
        AT.log("embed_vocabulary/{corpus}{variant}"),
    benchmark:
        AT.time("embed_vocabulary/{corpus}{variant}")
    conda:
        ENV
    threads: CFG.clip.threads
    resources:
        **needs((2000, 8000), (10, 30), gpu=CLIP_GPUS),
    params:
        config=CONFIG,
        made=made_here("embed", "clip.model", "clip.pretrained"),
    message:
        "embeddings of the vocabulary of {wildcards.corpus}{wildcards.variant}"
    shell:
        "cocu stage embed-vocabulary --config {params.config} --corpus {wildcards.corpus}{wildcards.variant}"
        " > {log} 2>&1"


for JOB, LOG, NUMBER, PART, JOINED in jobs("archive", CFG.curate.shards_per_job):

    rule:
        name:
            JOB
        input:
            corpus=MANIFEST,
            captions=captions,
            embeddings=embeddings,
            vocabulary=vectors,
            parts=[layout.block(CURATION.archive, number) for number in range(JOINED)],
        output:
            manifest=finished(CURATION.archive, NUMBER),
            archives=files(layout.side_car, CURATION.archive, PART),
        log:
            AT.log(LOG),
        benchmark:
            AT.time(LOG)
        conda:
            ENV
        threads: CFG.curate.threads
        resources:
            **needs((2000, 64000), (10, 1440), gpu=0 if JOINED else SEARCH_GPUS),
        params:
            config=CONFIG,
            block="" if NUMBER is None else f"--block {NUMBER}",
            made=made_here("archive", "curate.pool"),
        message:
            f"{JOB} of {{wildcards.corpus}}{{wildcards.variant}}"
        shell:
            "cocu stage archive --config {params.config} --corpus {wildcards.corpus}{wildcards.variant}"
            " {params.block} > {log} 2>&1"


if MINI:

    rule oracle:
        input:
            corpus=MANIFEST,  # its rule writes the truth as well
            captions=captions,
        output:
            manifest=CURATION.oracle / layout.MANIFEST,
            archives=files(layout.side_car, CURATION.oracle, SHARDS),
        log:
            AT.log("oracle/{corpus}{variant}"),
        benchmark:
            AT.time("oracle/{corpus}{variant}")
        conda:
            ENV
        resources:
            **needs((1000, 1000), (10, 10)),
        params:
            config=CONFIG,
            made=made_here("oracle"),
        message:
            "oracle of {wildcards.corpus}{wildcards.variant}"
        shell:
            "cocu stage oracle --config {params.config} --corpus {wildcards.corpus}{wildcards.variant} > {log} 2>&1"

    rule quality:
        input:
            corpus=MANIFEST,  # as above
            captions=captions,
            archive=CURATION.archive / layout.MANIFEST,
        output:
            json=CURATION.quality,
        log:
            AT.log("quality/{corpus}{variant}"),
        benchmark:
            AT.time("quality/{corpus}{variant}")
        conda:
            ENV
        resources:
            **needs((1000, 1000), (10, 10)),
        params:
            config=CONFIG,
            made=made("quality", arm=CFG.report.treatment),
        message:
            "quality of the archive of {wildcards.corpus}{wildcards.variant}"
        shell:
            "cocu stage quality --config {params.config} --corpus {wildcards.corpus}{wildcards.variant} > {log} 2>&1"
