"""One-line changes of what is reported (quality, statistics, tables) and of the configuration's checks."""

from __future__ import annotations

from tests.mutants.mutant import changes

MINI = "tests/unit/mini"
REPORT = "tests/unit/report"

REPORTS = (
    *changes(
        "cocu/mini/quality.py",
        (f"{MINI}/test_quality.py",),
        ("quality: draws without replacement", "replacement=prompts.replacement", "replacement=False"),
        ("quality: the temperature is ignored", "temperature=prompts.temperature", "temperature=1.0"),
        ("quality: three concepts, whatever is asked", "2 * prompts.count))", "2 * 3))"),
        ("quality: every way of drawing is one", "            sampling=sampling,", '            sampling="uniform",'),
        ("quality: repeats count", "both = np.unique(np.stack(", "both = np.array(np.stack("),
        ("quality: what is mentioned is missing, too", "missing = right & ~truth", "missing = right | truth"),
        ("quality: recall of the precise", "_share(right.sum(), truth.visible.sum())", "_share(right.sum(), total)"),
    ),
    *changes(
        "cocu/report/tables.py",
        (f"{REPORT}/test_tables.py",),
        (
            "tables: the difference the other way round",
            "paired_difference(miou, baseline, name=arm",
            "paired_difference(baseline, miou, name=arm",
        ),
        ("tables: any protocol", "    if len(seen) > 1:", "    if len(seen) > 99:"),
        ("tables: another arm's result", "if said != (arm, seed, benchmark) or not whole", "if not whole"),
        (
            "tables: a sum in place of the mean",
            "sum(v[seed] for v in of_benchmarks) / len(of_benchmarks)",
            "sum(v[seed] for v in of_benchmarks)",
        ),
        ("tables: a minus that is no minus", 'return "\\N{MINUS SIGN}" + text[1:]', "return text[1:]"),
    ),
    *changes(
        "cocu/fit.py",
        ("tests/unit/test_config.py",),
        ("fit: a batch of all the pairs is refused", "train.batch_size > pairs", "train.batch_size >= pairs"),
        ("fit: a curve without val images", 'if corpus.kind != "mini" and train.validate_every:', "if False:"),
        ("fit: sampling of captions", 'if prompts.source == "archive" or', "if True or"),
    ),
    *changes(
        "cocu/sections.py",
        ("tests/unit/test_config.py",),
        ("sections: heads that do not divide", "            if d % h:", "            if False:"),
        (
            "sections: a model that groups nothing",
            "if not any(stage.group_tokens for stage in self.stages):",
            "if False:",
        ),
        ("sections: betas of one", "betas: tuple[BelowOne, BelowOne]", "betas: tuple[Fraction, Fraction]"),
        ("sections: a drop-path of one", "drop_path: BelowOne", "drop_path: Fraction"),
    ),
    *changes(
        "cocu/train/check.py",
        ("tests/unit/train/test_check.py",),
        (
            "check: the augmentation is not tried",
            "Augmentation(augment, side)(np.full",
            "(lambda *_, **__: None)(np.full",
        ),
        (
            "check: rates are not looked at",
            "if not all(map(math.isfinite, rates)) or min(rates) < 0 or max(rates[1:]) <= 0:",
            "if False:",
        ),
    ),
)
