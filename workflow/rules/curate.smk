# Concept curation: vocabulary and concepts of the captions, embeddings by CLIP, the archive, and its quality.

CURATION = f"{R}/curation/{{corpus}}"
STAND_IN_FILE = [f"{R}/clip/manifest.json"] if STAND_IN else []
STAND_IN_OPTION = options(clip=f"{R}/clip" if STAND_IN else None)
POOL_WORDS = f"{CFG.curate.pool}/captions/vocabulary.txt" if CFG.curate.pool else ""
# The stand-in's embeddings are made on the CPU, alike on every machine; so are the searches that approximate.
CLIP_GPUS = gpus(0 if STAND_IN else 1)
SEARCH_GPUS = gpus(1 if CFG.curate.search.index in ("auto", "exact") else 0)
WORDS = [file for file in (CFG.curate.vocabulary.file or POOL_WORDS,) if file]


rule captions:
    input:
        corpus=rules.corpus.output.manifest,
        words=WORDS,
    output:
        manifest=f"{CURATION}/captions/manifest.json",
    log:
        f"{R}/logs/captions/{{corpus}}.log",
    benchmark:
        f"{R}/times/captions/{{corpus}}.tsv"
    conda:
        ENV
    resources:
        mem_mb=memory(1000, 16000),
        runtime=minutes(10, 240),
    params:
        config=CONFIG,
        settings=CFG.fingerprint("curate.vocabulary", "curate.pool"),
        code=code_fingerprint("cocu.concepts.captions"),
        out=subpath(output.manifest, parent=True),
    message:
        "concepts of the captions of {wildcards.corpus}"
    shell:
        "cocu captions --config {params.config} --corpus {input.corpus} --out {params.out} > {log} 2>&1"


rule embed:
    input:
        corpus=rules.corpus.output.manifest,
        clip=STAND_IN_FILE,
    output:
        block=f"{CURATION}/embeddings/{{block}}.json",
    log:
        f"{R}/logs/embed/{{corpus}}/{{block}}.log",
    benchmark:
        f"{R}/times/embed/{{corpus}}/{{block}}.tsv"
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
        clip=STAND_IN_OPTION,
    message:
        "embeddings of {wildcards.corpus}, block {wildcards.block}"
    shell:
        "cocu embed --config {params.config} --corpus {input.corpus} {params.clip} --block {wildcards.block}"
        " --out {output.block} > {log} 2>&1"


rule embed_vocabulary:
    input:
        captions=rules.captions.output.manifest,
        clip=STAND_IN_FILE,
    output:
        vectors=f"{CURATION}/embeddings/vocabulary.npy",
    log:
        f"{R}/logs/embed_vocabulary/{{corpus}}.log",
    benchmark:
        f"{R}/times/embed_vocabulary/{{corpus}}.tsv"
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
        captions=subpath(input.captions, parent=True),
        clip=STAND_IN_OPTION,
    message:
        "embeddings of the vocabulary of {wildcards.corpus}"
    shell:
        "cocu embed-vocabulary --config {params.config} --captions {params.captions} {params.clip}"
        " --out {output.vectors} > {log} 2>&1"


# Blocks of the archive, each a job of its own; where there is one block alone, the rule below does it.
rule archive_block:
    input:
        corpus=rules.corpus.output.manifest,
        captions=rules.captions.output.manifest,
        blocks=lambda wildcards: expand(rules.embed.output.block, corpus=wildcards.corpus, block=EMBED_BLOCKS),
        vocabulary=rules.embed_vocabulary.output.vectors,
    output:
        block=f"{CURATION}/archive/blocks/{{block}}.json",
    log:
        f"{R}/logs/archive/{{corpus}}/{{block}}.log",
    benchmark:
        f"{R}/times/archive/{{corpus}}/{{block}}.tsv"
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
        captions=subpath(input.captions, parent=True),
        embeddings=subpath(input.vocabulary, parent=True),
        out=subpath(output.block, ancestor=2),
    message:
        "archive of {wildcards.corpus}, block {wildcards.block}"
    shell:
        "cocu archive build --config {params.config} --corpus {input.corpus} --captions {params.captions}"
        " --embeddings {params.embeddings} --block {wildcards.block} --out {params.out} > {log} 2>&1"


rule archive:
    input:
        corpus=rules.corpus.output.manifest,
        captions=rules.captions.output.manifest,
        blocks=lambda wildcards: expand(rules.embed.output.block, corpus=wildcards.corpus, block=EMBED_BLOCKS),
        vocabulary=rules.embed_vocabulary.output.vectors,
        parts=lambda wildcards: expand(rules.archive_block.output.block, corpus=wildcards.corpus, block=ARCHIVE_BLOCKS),
    output:
        manifest=f"{CURATION}/archive/manifest.json",
    log:
        f"{R}/logs/archive/{{corpus}}.log",
    benchmark:
        f"{R}/times/archive/{{corpus}}.tsv"
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
        captions=subpath(input.captions, parent=True),
        embeddings=subpath(input.vocabulary, parent=True),
        out=subpath(output.manifest, parent=True),
    message:
        "archive of {wildcards.corpus}"
    shell:
        "cocu archive build --config {params.config} --corpus {input.corpus} --captions {params.captions}"
        " --embeddings {params.embeddings} --out {params.out} > {log} 2>&1"


if MINI:

    rule oracle:
        input:
            corpus=rules.corpus.output.manifest,  # its rule writes the truth as well
            captions=rules.captions.output.manifest,
        output:
            manifest=f"{CURATION}/oracle/manifest.json",
        log:
            f"{R}/logs/oracle/{{corpus}}.log",
        benchmark:
            f"{R}/times/oracle/{{corpus}}.tsv"
        conda:
            ENV
        resources:
            mem_mb=memory(1000, 1000),
            runtime=minutes(10, 10),
        params:
            config=CONFIG,
            code=code_fingerprint("cocu.mini.truth"),
            truth=lambda wildcards: f"{R}/truth/{wildcards.corpus}",
            captions=subpath(input.captions, parent=True),
            out=subpath(output.manifest, parent=True),
        message:
            "oracle of {wildcards.corpus}"
        shell:
            "cocu oracle --config {params.config} --truth {params.truth} --captions {params.captions}"
            " --out {params.out} > {log} 2>&1"

    rule quality:
        input:
            corpus=rules.corpus.output.manifest,  # as above
            captions=rules.captions.output.manifest,
            archive=rules.archive.output.manifest,
        output:
            json=f"{CURATION}/quality.json",
        log:
            f"{R}/logs/quality/{{corpus}}.log",
        benchmark:
            f"{R}/times/quality/{{corpus}}.tsv"
        conda:
            ENV
        resources:
            mem_mb=memory(1000, 1000),
            runtime=minutes(10, 10),
        params:
            config=CONFIG,
            settings=[CFG.fingerprint("report.seed"), CFG.arm(CFG.report.treatment).fingerprint("train.prompts")],
            code=code_fingerprint("cocu.mini.quality"),
            truth=lambda wildcards: f"{R}/truth/{wildcards.corpus}",
            captions=subpath(input.captions, parent=True),
            archive=subpath(input.archive, parent=True),
        message:
            "quality of the archive of {wildcards.corpus}"
        shell:
            "cocu quality --config {params.config} --truth {params.truth} --captions {params.captions}"
            " --archive {params.archive} --out {output.json} > {log} 2>&1"
