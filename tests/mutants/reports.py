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
        ("tables: a sum in place of the mean", "by_model[benchmarks].mean(axis=1)", "by_model[benchmarks].sum(axis=1)"),
        (
            "tables: values of other seeds",
            "by_model.loc[arm].loc[seeds[arm], column]",
            "by_model.loc[arm][column]",
        ),
        ("tables: a reference has a difference", " and arm not in config.references", ""),
        ("tables: a page as wide as the benchmarks", "grid.T.rename_axis", "grid.rename_axis"),
    ),
    *changes(
        "cocu/report/collect.py",
        (f"{REPORT}/test_collect.py",),
        ("results: another arm's result", "!= (arm, seed, benchmark):", "!= (*said,):"),
        ("results: any difference will do", "odd = values[values != values.iloc[0]]", "odd = values[:0]"),
        (
            "results: the first file is named twice",
            "(values.index[0], odd.index[0])",
            "(values.index[0], values.index[0])",
        ),
        ("results: any protocol", 'agree(rows["protocol"],', 'agree(rows["benchmark"],'),
        ("results: any number of images", 'agree(rows["images"],', 'agree(rows["benchmark"],'),
        ("results: any classes", 'agree(rows["iou"].map(", ".join),', 'agree(rows["benchmark"],'),
        ("results: as many classes are the same", 'rows["iou"].map(", ".join)', 'rows["iou"].map(len)'),
        ("results: any weights", 'agree(rows["weights"].str[:12],', 'agree(rows["seed"],'),
        (
            "results: one_label is of any weights",
            'frame["arm"].replace(ONE_LABEL, config.report.treatment)',
            'frame["arm"]',
        ),
        ("results: any threshold", "agree(thresholds.map(ORIGINS),", "agree(thresholds.map(type),"),
        ("results: one_label needs a threshold", '(rows["arm"] != ONE_LABEL) | ', '(rows["arm"] != "") | '),
        ("results: no threshold is a threshold", ' | (rows["background_from"] != "none")', ""),
        (
            "results: every threshold was published",
            'self.val_miou is None else "val"',
            'self.val_miou is None else "published"',
        ),
        ("results: no threshold is a chosen one", '"none" if self.background is None else chosen', "chosen"),
        ("results: numbers may be texts", "strict=True, frozen=True", "frozen=True"),
        ("results: no images", "images: int = Field(ge=1)", "images: int"),
        ("results: classes without an IoU", "self.iou, strict=True", "self.iou, strict=False"),
        ("results: iou as Python prints it", "json.dumps(iou, ensure_ascii=False)", "str(iou)"),
    ),
    *changes(
        "cocu/report/render.py",
        (f"{REPORT}/test_render.py",),
        ("render: a minus that is no minus", 'return "\\N{MINUS SIGN}" + text[1:]', "return text[1:]"),
        ("render: a negative zero", 'return "0.00" if text == "-0.00" else text', "return text"),
        ("render: LaTeX's signs in a cell", "frame.map(latex_text).rename(", "frame.rename("),
        ("render: LaTeX's signs in a corner", "names=latex_text(_heads(frame)[0])", "names=_heads(frame)[0]"),
        ("render: a percent sign is a comment", '"_%&#${}"', '"_&#${}"'),
        ("render: an underscore is a subscript", '"_%&#${}"', '"%&#${}"'),
    ),
    *changes(
        "cocu/report/statistics.py",
        (f"{REPORT}/test_statistics.py",),
        ("statistics: a spread in place of an error", "stats.sem(differences) *", "np.std(differences, ddof=1) *"),
        ("statistics: one degree of freedom more", "len(differences) - 1))", "len(differences)))"),
        ("statistics: an interval of one size", "stats.t.interval(confidence,", "stats.t.interval(0.95,"),
    ),
    *changes(
        "cocu/report/panel.py",
        (f"{REPORT}/test_panel.py",),
        ("panel: no threshold is not a number", '.fillna({"background": 0.0})', ""),
        (
            "panel: another benchmark's thresholds",
            'results["benchmark"] == benchmark.name',
            'results["benchmark"] != ""',
        ),
    ),
    *changes(
        "cocu/fit.py",
        ("tests/unit/test_config.py",),
        ("fit: a batch of all the pairs is refused", "train.batch_size > pairs", "train.batch_size >= pairs"),
        ("fit: a curve without val images", 'if corpus.kind != "mini" and train.validate_every:', "if False:"),
        ("fit: sampling of captions", '(key, given[key]) != ("sampling", "uniform")', "False"),
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
