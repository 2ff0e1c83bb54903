"""One-line changes of the evaluation: windows, groups, backgrounds, files, counts and the score."""

from __future__ import annotations

from tests.mutants.mutant import changes

BENCHMARKS = "tests/unit/benchmarks"
EVALUATE = "tests/unit/evaluate"
SEGMENT = "tests/unit/segment"
GOLDEN = "tests/golden/test_golden_miou.py"
STAGE = f"{EVALUATE}/test_stage.py"

SEGMENTATION = (
    *changes(
        "cocu/segment/windows.py",
        (f"{SEGMENT}/test_windows.py",),
        ("windows: sizes are rounded down", "int(height * factor + 0.5)", "int(height * factor)"),
        ("windows: the long side is not capped", "factor = min(cap", "factor = max(cap"),
        (
            "windows: width and height change places",
            "image, (width, height), interpolation",
            "image, (height, width), interpolation",
        ),
        ("windows: nearest neighbour", "cv2.INTER_LINEAR", "cv2.INTER_NEAREST"),
        ("windows: antialias", "cv2.INTER_LINEAR", "cv2.INTER_AREA"),
        ("windows: one window too few", "range(-(-last // stride) + 1)", "range(last // stride + 1)"),
        ("windows: the last one juts out", "min(i * stride, last)", "i * stride"),
        (
            "windows: columns first",
            "for top in window_starts(height, window, stride) for left in lefts",
            "for left in lefts for top in window_starts(height, window, stride)",
        ),
        (
            "windows: padded above and left",
            "(0, -width % patch, 0, -height % patch)",
            "(-width % patch, 0, -height % patch, 0)",
        ),
    ),
    *changes(
        "cocu/segment/zero_shot.py",
        (
            f"{SEGMENT}/test_zero_shot.py",
            f"{GOLDEN}::test_background_threshold",
            f"{GOLDEN}::test_the_threshold_is_each_windows_own",
            f"{GOLDEN}::test_top_five_filter",
        ),
        ("zero-shot: the first template alone", "-1).mean(1), dim=-1)", "-1)[:, 0], dim=-1)"),
        (
            "zero-shot: words beside templates",
            "reshape(len(words), len(templates), -1).mean(1)",
            "reshape(len(templates), len(words), -1).mean(0)",
        ),
        (
            "zero-shot: the mean is no unit vector",
            "return F.normalize(embeddings.reshape(len(words), len(templates), -1).mean(1), dim=-1)",
            "return embeddings.reshape(len(words), len(templates), -1).mean(1)",
        ),
        (
            "zero-shot: no temperature for groups",
            "logits = seen.segments @ text.T * scale",
            "logits = seen.segments @ text.T",
        ),
        (
            "zero-shot: no temperature for the window",
            "whole = seen.embedding @ text.T * scale",
            "whole = seen.embedding @ text.T",
        ),
        (
            "zero-shot: a map of the unpadded size",
            "seen.maps, padded.shape[-2], padded.shape[-1])[:, :height, :width]",
            "seen.maps, height, width)",
        ),
        (
            "zero-shot: corners aligned",
            'mode="bilinear", align_corners=False)\n    return resized',
            'mode="bilinear", align_corners=True)\n    return resized',
        ),
        (
            "zero-shot: groups of the nearest patch",
            'mode="bilinear", align_corners=False)\n    return resized',
            'mode="nearest")\n    return resized',
        ),
        ("zero-shot: top six", "TOP_CLASSES = 5", "TOP_CLASSES = 6"),
        (
            "zero-shot: no second softmax",
            "groups.softmax(-1) * kept.softmax(-1)",
            "groups.softmax(-1) * (kept > -torch.inf)",
        ),
        (
            "zero-shot: the first softmax over the top",
            "groups.softmax(-1) * kept.softmax(-1)",
            "kept.softmax(-1) * kept.softmax(-1)",
        ),
        (
            "zero-shot: the top of the groups",
            "whole.topk(min(top, whole.shape[-1]), dim=-1)",
            "groups.amax(1).topk(min(top, whole.shape[-1]), dim=-1)",
        ),
        ("zero-shot: at the threshold is background", "(best < limit)", "(best <= limit)"),
        ("zero-shot: the threshold is not the window's", ".clamp(max=threshold)", ".clamp(min=threshold)"),
        ("zero-shot: one threshold for the batch", "best.amax(-1, keepdim=True)", "best.amax()"),
        (
            "zero-shot: the background comes last",
            "torch.cat([(best < limit)[..., None].to(scores.dtype), scores], dim=-1)",
            "torch.cat([scores, (best < limit)[..., None].to(scores.dtype)], dim=-1)",
        ),
        ("zero-shot: patches are stretched over the window", "size=self.padded,", "size=self.size,"),
    ),
    *changes(
        "cocu/segment/memory.py",
        (f"{SEGMENT}/test_memory.py",),
        ("memory: windows of any shape are one", "repr(pixels.shape).encode() + ", ""),
        ("memory: nothing is kept", "self._seen[key] = seen", "pass"),
        ("memory: without end", "self._room -= pixels.nbytes", "pass"),
    ),
    *changes(
        "cocu/evaluate/job.py",
        (f"{EVALUATE}/test_job.py",),
        ("job: nothing is kept", "store.keep(out.name, out, made_from, {})", "pass"),
        ("job: a failure ends the job", "failed.append(error)", "raise"),
        ("job: a failure is forgotten", "        raise failed[0]", "        pass"),
        ("job: a reference is a checkpoint", "None if checkpoint else arms[0]", "None"),
        ("job: one label is segmented", "one_label = arm == ONE_LABEL", "one_label = False"),
    ),
    *changes(
        "cocu/evaluate/stage.py",
        (f"{EVALUATE}/test_job.py",),
        ("stage: the protocol is missing from the stamp", '"protocol": definition.protocol_hash(), "data"', '"data"'),
        ("stage: the files are missing from the stamp", ', "data": data}', "}"),
    ),
    *changes(
        "cocu/segment/segmenter.py",
        (f"{SEGMENT}/test_segmenter.py", f"{GOLDEN}::test_windows_are_averaged_by_count"),
        ("segmenter: the first window is all of them", "number == 1 and views.resized", "views.resized"),
        (
            "segmenter: labels of a resized image's groups",
            "number == 1 and views.resized == views.original",
            "number == 1",
        ),
        ("segmenter: pixels of 0 to 255", ".to(device).float() / 255", ".to(device).float()"),
        ("segmenter: the mean is not taken off", "((pixels - mean) / std)", "(pixels / std)"),
        ("segmenter: not divided by the deviation", "((pixels - mean) / std)", "(pixels - mean)"),
        ("segmenter: BGR", "((pixels - mean) / std)", "((pixels.flip(-1) - mean) / std)"),
        ("segmenter: rows are columns", "permute(0, 3, 1, 2)", "permute(0, 3, 2, 1)"),
        ("segmenter: overlapping windows add up", "return total.div_(count)", "return total"),
        ("segmenter: the last of overlapping windows", "total[at] += painted", "total[at] = painted"),
        ("segmenter: corners aligned", "align_corners=False).max(1)", "align_corners=True).max(1)"),
        ("segmenter: the last of equal classes", "better = top > best", "better = top >= best"),
        ("segmenter: the first class only if it is active", "active[0] = True", "pass"),
        ("segmenter: the background counts always", "threshold if self.background else None", "threshold"),
        ("segmenter: the best label of any window", ".mean(1).argmax(-1)", ".amax(1).argmax(-1)"),
        ("segmenter: one label is one less", ".argmax(-1) + int(self.background)", ".argmax(-1)"),
        (
            "segmenter: another image's windows",
            "parts.append(best_classes(views, windows, logits[windows]))",
            "parts.append(best_classes(views, slice(0, windows.stop - windows.start), logits[windows]))",
        ),
        (
            "segmenter: labels of the resized image",
            "F.interpolate(averaged, size=views.original,",
            "F.interpolate(averaged, size=views.resized,",
        ),
    ),
    *changes(
        "cocu/evaluate/confusion.py",
        (
            f"{EVALUATE}/test_confusion.py",
            f"{GOLDEN}::test_three_classes_with_ignored_pixels",
            f"{GOLDEN}::test_absent_classes",
            f"{GOLDEN}::test_many_classes_do_not_overflow_eight_bits",
        ),
        ("score: truth in columns", "rows * classes + columns", "columns * classes + rows"),
        ("score: the union counts hits twice", "+ counts.sum(1) - hit", "+ counts.sum(1)"),
        ("score: ignored pixels are the last class", "scored = truth != ignore", "scored = truth != ignore + 1"),
        ("score: an absent class has 0", "np.full(len(counts), np.nan)", "np.zeros(len(counts))"),
        ("score: eight bits", "rows = truth[scored].astype(np.int64)", "rows = truth[scored].astype(np.uint8)"),
        ("score: a class only where it is true", "where=union > 0", "where=counts.sum(1) > 0"),
        ("score: no error for no pixel", "if not counts.any():", "if False:"),
    ),
    *changes(
        "cocu/evaluate/score.py",
        (
            f"{STAGE}::test_the_threshold_that_is_best_on_val_is_chosen",
            f"{STAGE}::test_both_metrics_count_the_same_predictions",
            f"{STAGE}::test_a_shrunk_image_is_scored_at_the_size_of_its_mask",
            f"{STAGE}::test_validation_leaves_the_models_mode_and_needs_no_threshold",
        ),
        ("score: agreement of 20 points", "AGREEMENT = 0.01", "AGREEMENT = 20"),
        (
            "score: one threshold's predictions for all",
            "counts[i] += confusion(prediction,",
            "counts[i] += confusion(predictions[0],",
        ),
        (
            "score: a shrunk image's labels at their own size",
            "[enlarged(labels[i], example.truth.shape) for labels in painted]",
            "[labels[i] for labels in painted]",
        ),
        (
            "score: enlarged with a shift",
            "np.arange(size) * of // size for",
            "(np.arange(size) * of + of - 1) // size for",
        ),
        ("score: a curve in training mode", "model.train(False)", "model.train(mode)"),
        ("score: the mode is not given back", "        model.train(mode)", "        pass"),
        ("score: a curve with the benchmark's background", "background: float = 0.0", "background: float = 1.0"),
        ("score: the first image's labels for its batch", "enlarged(labels[i], example", "enlarged(labels[0], example"),
    ),
    *changes(
        "cocu/evaluate/stage.py",
        (
            f"{STAGE}::test_the_threshold_that_is_best_on_val_is_chosen",
            f"{STAGE}::test_the_threshold_is_chosen_on_val_and_used_on_test",
        ),
        ("evaluate: the first of equal thresholds", "ordered = sorted(candidates)", "ordered = list(candidates)"),
        (
            "evaluate: the highest of equal thresholds",
            "best = int(np.argmax(reached))",
            "best = len(reached) - 1 - int(np.argmax(reached[::-1]))",
        ),
        ("evaluate: the threshold is chosen on test", "choose_background(work, val,", "choose_background(work, test,"),
        (
            "evaluate: the benchmark's own threshold",
            "work.checked(test, None if one_label else threshold)",
            "work.checked(test, None if one_label else definition.background_threshold)",
        ),
        (
            "evaluate: one label has a background",
            "section.backgrounds and definition.background and not one_label:",
            "section.backgrounds and definition.background:",
        ),
        ("evaluate: fractions for percent", "float(100 * v)", "float(v)"),
        ("evaluate: an absent class has 0", "None if np.isnan(v) else", "0.0 if np.isnan(v) else"),
    ),
    *changes(
        "cocu/evaluate/stage.py",
        (f"{STAGE}::test_run_reports_on_test_with_the_threshold_of_val",),
        ("evaluate: a choice without candidates", "is not None and section.backgrounds and", "is not None and"),
    ),
    *changes(
        "cocu/evaluate/stage.py",
        (f"{STAGE}::test_more_processes_than_images_have_nothing_to_count_and_do_not_fail",),
        ("evaluate: every process takes all images", "self.limit, (process, self.processes)", "self.limit, (0, 1)"),
    ),
    *changes(
        "cocu/benchmarks/mmseg.py",
        (
            f"{BENCHMARKS}/test_mmseg.py::test_images_are_rgb_and_a_subset_of_classes_leaves_the_others_unscored",
            f"{BENCHMARKS}/test_mmseg.py::test_shares_are_every_nth_of_the_first_images",
            f"{BENCHMARKS}/test_mmseg.py::test_the_first_label_that_is_no_class_is_refused",
            f"{BENCHMARKS}/test_mmseg.py::test_damaged_masks_are_named",
            f"{BENCHMARKS}/test_mmseg.py::test_an_image_that_its_exif_tag_turns_is_refused",
            f"{BENCHMARKS}/test_mmseg.py::test_an_image_of_more_pixels_than_the_limit_is_shrunk_and_its_truth_is_not",
        ),
        ("files: BGR", 'loaded["img"][:, :, ::-1]', 'loaded["img"]'),
        ("files: shares overlap", "[share[0] :: share[1]]", "[share[0] :]"),
        (
            "files: the limit is of a share",
            "self._rows = range(min(limit or whole, whole))[share[0] :: share[1]]",
            "self._rows = range(whole)[share[0] :: share[1]][: limit or whole]",
        ),
        ("files: one label too many", "scored.max() >= len", "scored.max() > len"),
        ("files: masks of any mode", "if mode not in modes:", "if False:"),
        ("files: an image of another size", "if image.shape[:2] != truth.shape:", "if False:"),
        ("files: no image is shrunk", "if limits is None or height * width <= limits[0]:", "if True:"),
    ),
    *changes(
        "cocu/benchmarks/datasets.py",
        (
            f"{BENCHMARKS}/test_real_formats.py::test_what_was_written_is_read",
            f"{BENCHMARKS}/test_real_formats.py::test_ones_own_classes_do_not_change_what_the_labels_are",
        ),
        ("files: ImageNet-S in eight bits", "np.asarray(mask).astype(np.int64)", "np.asarray(mask)"),
        (
            "files: labels by one's own classes",
            'read_benchmark("coco_object", SHIPPED)',
            'read_benchmark("coco_object")',
        ),
        ("files: ImageNet-S in red alone", "colours[..., 0] + 256 * colours[..., 1]", "colours[..., 0]"),
    ),
    *changes(
        "cocu/benchmarks/definitions.py",
        (f"{BENCHMARKS}/test_definitions.py",),
        ("benchmarks: a shipped file comes first", "places = (own, SHIPPED)", "places = (SHIPPED, own)"),
        ("benchmarks: one's own are not suggested", "{*yours, *ours})", "ours)"),
        ("benchmarks: the hash follows the name", '{"name", *DESCRIPTION}', "{*DESCRIPTION}"),
        ("benchmarks: the hash forgets the stride", '{"name", *DESCRIPTION}', '{"name", "stride", *DESCRIPTION}'),
        ("benchmarks: gaps between windows", "if self.stride > self.window:", "if False:"),
        ("benchmarks: the ignored label may be a class", "if self.ignore_index < len(self.classes):", "if False:"),
    ),
    *changes(
        "cocu/segment/photos.py",
        (
            f"{SEGMENT}/test_photos.py::test_labels_areas_and_palette",
            f"{SEGMENT}/test_photos.py::test_the_score_by_hand",
            f"{SEGMENT}/test_photos.py::test_the_mean_of_the_score_is_over_windows_and_pixels",
            f"{SEGMENT}/test_photos.py::test_exif_rotation_and_alpha_count",
            f"{SEGMENT}/test_photos.py::test_the_default_size_is_the_published_one_for_patches",
        ),
        ("photos: a word is one less without background", " + int(threshold is None)", ""),
        (
            "photos: the score of the next word",
            "- 1\n    scores = evidence.scores[..., words]",
            "- 1\n    scores = evidence.scores[..., words - 1]",
        ),
        ("photos: the mean over the whole picture", "[own].mean(", ".mean("),
        ("photos: as stored, not as shown", ", as_shown=True)", ")"),
        (
            "photos: twice the side for any stem",
            'config.image_size * (2 if config.stem == "patch" else 1)',
            "config.image_size * 2",
        ),
    ),
)
