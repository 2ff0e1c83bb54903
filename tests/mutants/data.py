"""One-line changes of what lies below: shards, pictures, the mini world's files, CLIP, and files at the edge."""

from __future__ import annotations

from tests.mutants.mutant import changes

BENCHMARKS = "tests/unit/benchmarks"
CLIP = "tests/unit/clip"
MINI = "tests/unit/mini"
PAIRS = "tests/unit/pairs"

DATA = (
    *changes(
        "cocu/io.py",
        ("tests/unit/test_io.py",),
        ("io: written in place", "os.replace(temporary, path)", "shutil.copy(temporary, path)"),
        (
            "io: a failure leaves its file",
            "    except BaseException:\n        _remove(temporary)",
            "    except BaseException:\n        pass",
        ),
        ("io: an old folder stays", "        if temporary.is_dir() and path.exists():", "        if False:"),
        ("io: the fingerprint forgets imports", "todo += _imports(path)", "pass"),
        ("io: the fingerprint forgets `import x`", "names += [a.name for a in node.names]", "pass"),
        ("io: the fingerprint forgets modules of a package", '*(f"{node.module}.{a.name}" for a in node.names)', ""),
        ("io: the fingerprint is of names", 'name.encode() + b"\\0" + path.read_bytes()', "name.encode()"),
        ("io: the log is part of a stage", '"cocu.io", "cocu.log"', '"cocu.io"'),
        ("io: keys as they come", "sort_keys=True", "sort_keys=False"),
    ),
    *changes(
        "cocu/parallel.py",
        ("tests/unit/test_parallel.py",),
        ("parallel: one result too few", "yield from map(work, items)", "yield from map(work, items[1:])"),
    ),
    *changes(
        "cocu/pairs/shards.py",
        (f"{PAIRS}/test_shards.py",),
        ("shards: one block of zeros ends a tar", "END_OF_ARCHIVE = 2 *", "END_OF_ARCHIVE = 1 *"),
        ("shards: what follows the end is not read", "if block.count(0) != len(block):", "if False:"),
        ("shards: the end is not checked", "            _check_end(path, tar.offset)\n", ""),
        ("shards: the last dot ends a name", 'last.partition(".")', 'last.rpartition(".")'),
        ("shards: the second of one name counts", "        if kind in parts:", "        if False:"),
        (
            "shards: an image may lack its text",
            "            if missing not in parts:",
            '            if missing not in parts and missing != "text":',
        ),
        (
            "shards: a text may lack its image",
            "            if missing not in parts:",
            '            if missing not in parts and missing != "image":',
        ),
        ("shards: keys without the shard", '{corpus}/{path.stem}/{name}"', '{corpus}/{name}"'),
        ("shards: a link is a file", "if not member.isreg():", "if False:"),
        ("shards: a name may climb out", 'or ".." in parts', ""),
        ("shards: names in capitals are neither", "suffix.lower() in IMAGE_SUFFIXES", "suffix in IMAGE_SUFFIXES"),
        ("shards: no WebP", ', "webp"', ""),
        (
            "shards: no time is a time",
            "member.size, member.mode = len(data), 0o644",
            "member.size, member.mtime = len(data), os.times().elapsed",
        ),
        ("shards: samples set aside are read", "if not kind or name in skipped:", "if not kind:"),
        ("shards: members set aside are read", "if member.name in skipped else", "if False else"),
        ("shards: two shards of one name", "        if path.stem in seen:", "        if False:"),
    ),
    *changes(
        "cocu/pairs/reader.py",
        (f"{PAIRS}/test_reader.py",),
        ("reader: the shard before", 'i, side="right")) - 1', 'i, side="left")) - 1'),
        ("reader: numbers of the whole for a shard's", "[i - self._starts[shard]]", "[i % len(self._names[shard])]"),
        ("reader: the manifest's count is not compared", "if len(index.names) != file.samples:", "if False:"),
    ),
    *changes(
        "cocu/pairs/images.py",
        (f"{PAIRS}/test_images.py", f"{PAIRS}/test_shards.py"),
        ("images: 16 bits to white", 'shown.mode.startswith("I;16")', 'shown.mode.startswith("I;17")'),
        ("images: the low byte", ">> 8).astype", "& 255).astype"),
        ("images: never turned", "image = ImageOps.exif_transpose(image)", "pass"),
        ("images: always as shown", "_as_shown(image) if as_shown else image", "_as_shown(image)"),
        ("images: on black", '"RGBA", above.size, "white"', '"RGBA", above.size, "black"'),
        ("images: bombs are decoded", "if image.width * image.height > MAX_PIXELS:", "if False:"),
    ),
    *changes(
        "cocu/pairs/quarantine.py",
        (f"{PAIRS}/test_quarantine.py",),
        ("quarantine: a lost shard counts what was seen", "max(one.good, usual) if", "one.good if"),
        ("quarantine: as many as allowed are too many", "bad > most * (good + bad)", "bad >= most * (good + bad)"),
        ("quarantine: captions are not read", "            reader.caption(i)\n", ""),
        ("quarantine: images are not decoded", "decode_image(reader.image(i), reader.key(i))", "pass"),
        ("quarantine: the second of one name is sound", "if len(found) > len(set(found)):", "if False:"),
    ),
    *changes(
        "cocu/mini/build.py",
        (f"{MINI}/test_build.py",),
        (
            "build: every shard is the first",
            "scene_generator(world, stream, seed, number)",
            "scene_generator(world, stream, seed, 0)",
        ),
        (
            "build: every seed is the first",
            "scene_generator(world, stream, seed, number)",
            "scene_generator(world, stream, 0, number)",
        ),
        ("build: names begin anew in a shard", "{number * world.pairs_per_shard + i:07d}", "{i:07d}"),
        (
            "build: complete captions for training",
            'if stream == "web" else scene.caption',
            "if stream else scene.caption",
        ),
        ("build: colours are smeared", ", subsampling=0)", ", subsampling=2)"),
        ("build: the last shard is full", "min(per_shard, pairs - number * per_shard)", "per_shard"),
    ),
    *changes(
        "cocu/benchmarks/coco_object.py",
        (f"{BENCHMARKS}/test_coco_object.py",),
        ("coco-object: ids for raw values", "table[np.array(kept) - 1]", "table[np.array(kept)]"),
        ("coco-object: persons are background", "np.arange(1, len(kept) + 1)", "np.arange(len(kept))"),
        ("coco-object: an old mask is kept", "mask.stat().st_mtime >= path.stat().st_mtime", "True"),
    ),
    *changes(
        "cocu/mini/truth.py",
        (f"{MINI}/test_truth.py",),
        (
            "truth: rows as the truth has them",
            "truth.visible[row[key], column]] for key in keys",
            "truth.visible[i, column]] for i, key in enumerate(keys)",
        ),
    ),
    *changes(
        "cocu/clip/embed.py",
        (
            f"{CLIP}/test_embed.py::test_blocks_cover_the_shards_in_tar_order",
            f"{CLIP}/test_embed.py::test_only_what_does_not_match_is_embedded_again",
            f"{CLIP}/test_embed.py::test_other_inputs_are_embedded_again",
            f"{CLIP}/test_embed.py::test_samples_that_are_set_aside_are_not_embedded",
            f"{CLIP}/test_embed.py::test_a_shard_that_changed_since_its_manifest_is_refused",
        ),
        ("embed: another shard's rows are kept", '{"shard_sha256": file.sha256, ', "{"),
        ("embed: another corpus's rows are kept", '"corpus": corpus, "clip": encoder.facts', '"clip": encoder.facts'),
        ("embed: another CLIP's rows are kept", '"clip": encoder.facts, "code": code}', '"code": code}'),
        ("embed: another code's rows are kept", ', "code": code}', "}"),
        ("embed: a cut file is kept", ' and made["entry"]["sha256"] == file_sha256(out)', ""),
        (
            "embed: blocks overlap",
            "[block * per_job : (block + 1) * per_job]",
            "[block * per_job : (block + 2) * per_job]",
        ),
        ("embed: what is set aside is read", "corpus, file.skipped))", "corpus))"),
        ("embed: the count is not compared", "if len(keys) != file.samples:", "if False:"),
    ),
    *changes(
        "cocu/clip/embed.py",
        (
            f"{CLIP}/test_embed.py::test_rows_are_unit_vectors_to_one_part_in_a_thousand",
            f"{CLIP}/test_embed.py::test_a_vector_that_is_none_names_shard_and_key",
            f"{CLIP}/test_embed.py::test_the_vocabulary_is_embedded_as_prompts",
        ),
        ("embed: any length is one", "NORM_TOLERANCE = 1e-3", "NORM_TOLERANCE = 0.9"),
        ("embed: vectors are not checked", "    check_unit(rows, keys, where=file.path)\n", ""),
    ),
    *changes(
        "cocu/clip/encoder.py",
        (f"{CLIP}/test_embed.py::test_the_vocabulary_is_embedded_as_prompts",),
        ("encoder: another prompt", 'PROMPT = "a photo of a {}"', 'PROMPT = "a photo of {}"'),
    ),
    *changes(
        "cocu/pairs/images.py",
        (f"{CLIP}/test_encoder.py",),
        ("images: CLIP's mean turned", "0.4578275, 0.40821073", "0.40821073, 0.4578275"),
        ("images: CLIP's deviation is ImageNet's", "0.26862954, 0.26130258, 0.27577711", "0.2291, 0.2241, 0.2251"),
    ),
    *changes(
        "cocu/pairs/images.py",
        ("tests/unit/model/test_transformers.py",),
        ("images: ImageNet's mean turned", "0.456, 0.406", "0.406, 0.456"),
    ),
    *changes(
        "cocu/clip/encoder.py",
        (f"{CLIP}/test_encoder.py",),
        ("encoder: not divided by the deviation", "- mean) / std,", "- mean) / 255,"),
        ("encoder: no unit vectors", "torch.nn.functional.normalize(features, dim=-1)", "features"),
        ("encoder: resized bilinearly", "Image.Resampling.BICUBIC", "Image.Resampling.BILINEAR"),
        ("encoder: in training mode", "model.to(device).eval()", "model.to(device).train()"),
        ("encoder: facts without weights", "        joined.update(memoryview(array))\n", ""),
        (
            "encoder: another activation passes",
            'filterwarnings("error", message="QuickGELU',
            'filterwarnings("ignore", message="QuickGELU',
        ),
    ),
    *changes(
        "cocu/clip/dense.py",
        (
            f"{CLIP}/test_dense.py::test_patches_are_the_value_path_of_the_last_layer",
            f"{CLIP}/test_dense.py::test_at_another_size_it_is_the_model_with_bicubic_positions",
            f"{CLIP}/test_dense.py::test_the_normalisation_is_what_open_clip_says_of_the_model",
            f"{CLIP}/test_dense.py::test_scores_are_a_softmax_over_all_words_without_a_top_five",
        ),
        ("dense: patches attend to each other", "fill_diagonal_(0)", "fill_(0)"),
        ("dense: the class token is a patch", "attn_mask=alone))[:, 1:]", "attn_mask=alone))[:, :-1]"),
        ("dense: no norm after the last layer", "visual.ln_post(last(x, attn_mask=alone))", "last(x, attn_mask=alone)"),
        ("dense: any temperature", "MAX_SCALE = 100.0", "MAX_SCALE = 1000.0"),
        ("dense: positions bilinearly", 'mode="bicubic"', 'mode="bilinear"'),
        ("dense: positions with corners aligned", "align_corners=False)[0]", "align_corners=True)[0]"),
        ("dense: positions turned", ".flatten(1).T", ".transpose(1, 2).flatten(1).T"),
        ("dense: another mean than open_clip's", 'said.get("mean", OPENAI.mean)', 'said.get("std", OPENAI.mean)'),
    ),
)
