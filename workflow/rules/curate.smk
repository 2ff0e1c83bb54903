# Concept curation: vocabulary and concepts of the captions, embeddings by CLIP, the archive, and its quality.

CURATION = AT.curation("{corpus}")
POOL = layout.Curation(Path(CFG.curate.pool)).words if CFG.curate.pool else ""
WORDS = [file for file in (CFG.curate.vocabulary.file or POOL,) if file]
# The stand-in's embeddings are made on the CPU, alike on every machine; so are the searches that approximate.
CLIP_GPUS = gpus(0 if STAND_IN else 1)
SEARCH_GPUS = gpus(1 if CFG.curate.search.index in ("auto", "exact") else 0)


rule captions:
    input:
        corpus=rules.corpus.output.manifest,
        words=WORDS,
    output:
        manifest=CURATION.captions / layout.MANIFEST,
    log:
        AT.log("captions/{corpus}"),
    benchmark:
        AT.time("captions/{corpus}")
    conda:
        ENV
    resources:
        mem_mb=memory(1000, 16000),
        runtime=minutes(10, 240),
    params:
        config=CONFIG,
        settings=CFG.fingerprint("curate.vocabulary", "curate.pool"),
        held_out=held_out(),
        code=code_fingerprint("cocu.concepts.captions"),
    message:
        "concepts of the captions of {wildcards.corpus}"
    shell:
        "cocu stage captions --config {params.config} --corpus {wildcards.corpus} > {log} 2>&1"


rule embed:
    input:
        corpus=rules.corpus.output.manifest,
        clip=stand_in(),
    output:
        block=CURATION.embedded("{block}"),
    log:
        AT.log("embed/{corpus}/{block}"),
    benchmark:
        AT.time("embed/{corpus}/{block}")
    conda:
        ENV
    threads: CFG.clip.threads
    resources:
        gpu=CLIP_GPUS,
        mem_mb=memory(2000, 16000),
        runtime=minutes(10, 240),
    params:
        config=CONFIG,
        settings=CFG.fingerprint("clip.model", "clip.pretrained", "clip.batch_size", "clip.shards_per_job"),
        code=code_fingerprint("cocu.clip.embed"),
    message:
        "embeddings of {wildcards.corpus}, block {wildcards.block}"
    shell:
        "cocu stage embed --config {params.config} --corpus {wildcards.corpus} --block {wildcards.block} > {log} 2>&1"


rule embed_vocabulary:
    input:
        captions=rules.captions.output.manifest,
        clip=stand_in(),
    output:
        vectors=CURATION.vectors,
    log:
        AT.log("embed_vocabulary/{corpus}"),
    benchmark:
        AT.time("embed_vocabulary/{corpus}")
    conda:
        ENV
    threads: CFG.clip.threads
    resources:
        gpu=CLIP_GPUS,
        mem_mb=memory(2000, 8000),
        runtime=minutes(10, 30),
    params:
        config=CONFIG,
        settings=CFG.fingerprint("clip.model", "clip.pretrained"),
        code=code_fingerprint("cocu.clip.embed"),
    message:
        "embeddings of the vocabulary of {wildcards.corpus}"
    shell:
        "cocu stage embed-vocabulary --config {params.config} --corpus {wildcards.corpus} > {log} 2>&1"


# Blocks of the archive, each a job of its own; where there is one block alone, the rule below does it.
rule archive_block:
    input:
        corpus=rules.corpus.output.manifest,
        captions=rules.captions.output.manifest,
        blocks=lambda wildcards: expand(rules.embed.output.block, corpus=wildcards.corpus, block=EMBED_BLOCKS),
        vocabulary=rules.embed_vocabulary.output.vectors,
    output:
        block=CURATION.archived("{block}"),
    log:
        AT.log("archive/{corpus}/{block}"),
    benchmark:
        AT.time("archive/{corpus}/{block}")
    conda:
        ENV
    threads: CFG.curate.threads
    resources:
        gpu=SEARCH_GPUS,
        mem_mb=memory(2000, 64000),
        runtime=minutes(10, 1440),
    params:
        config=CONFIG,
        settings=ARCHIVE_SETTINGS,
        code=code_fingerprint("cocu.curate.archive"),
    message:
        "archive of {wildcards.corpus}, block {wildcards.block}"
    shell:
        "cocu stage archive --config {params.config} --corpus {wildcards.corpus} --block {wildcards.block} > {log} 2>&1"


rule archive:
    input:
        corpus=rules.corpus.output.manifest,
        captions=rules.captions.output.manifest,
        blocks=lambda wildcards: expand(rules.embed.output.block, corpus=wildcards.corpus, block=EMBED_BLOCKS),
        vocabulary=rules.embed_vocabulary.output.vectors,
        parts=lambda wildcards: expand(rules.archive_block.output.block, corpus=wildcards.corpus, block=ARCHIVE_BLOCKS),
    output:
        manifest=CURATION.archive / layout.MANIFEST,
    log:
        AT.log("archive/{corpus}"),
    benchmark:
        AT.time("archive/{corpus}")
    conda:
        ENV
    threads: CFG.curate.threads
    resources:
        gpu=0 if ARCHIVE_BLOCKS else SEARCH_GPUS,
        mem_mb=memory(2000, 64000),
        runtime=minutes(10, 1440),
    params:
        config=CONFIG,
        settings=ARCHIVE_SETTINGS,
        code=code_fingerprint("cocu.curate.archive"),
    message:
        "archive of {wildcards.corpus}"
    shell:
        "cocu stage archive --config {params.config} --corpus {wildcards.corpus} > {log} 2>&1"


if MINI:

    rule oracle:
        input:
            corpus=rules.corpus.output.manifest,  # its rule writes the truth as well
            captions=rules.captions.output.manifest,
        output:
            manifest=CURATION.oracle / layout.MANIFEST,
        log:
            AT.log("oracle/{corpus}"),
        benchmark:
            AT.time("oracle/{corpus}")
        conda:
            ENV
        resources:
            mem_mb=memory(1000, 1000),
            runtime=minutes(10, 10),
        params:
            config=CONFIG,
            code=code_fingerprint("cocu.mini.truth"),
        message:
            "oracle of {wildcards.corpus}"
        shell:
            "cocu stage oracle --config {params.config} --corpus {wildcards.corpus} > {log} 2>&1"

    rule quality:
        input:
            corpus=rules.corpus.output.manifest,  # as above
            captions=rules.captions.output.manifest,
            archive=rules.archive.output.manifest,
        output:
            json=CURATION.quality,
        log:
            AT.log("quality/{corpus}"),
        benchmark:
            AT.time("quality/{corpus}")
        conda:
            ENV
        resources:
            mem_mb=memory(1000, 1000),
            runtime=minutes(10, 10),
        params:
            config=CONFIG,
            settings=[CFG.fingerprint("report.seed"), CFG.arm(CFG.report.treatment).fingerprint("train.prompts")],
            code=code_fingerprint("cocu.mini.quality"),
        message:
            "quality of the archive of {wildcards.corpus}"
        shell:
            "cocu stage quality --config {params.config} --corpus {wildcards.corpus} > {log} 2>&1"
