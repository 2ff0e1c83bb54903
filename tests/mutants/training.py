"""One-line changes of training: losses, model, samples, optimiser, checkpoints."""

from __future__ import annotations

from tests.mutants.mutant import changes

MODEL = "tests/unit/model"
TRAIN = "tests/unit/train"
STEP, LOOP, DATA = f"{TRAIN}/test_step.py", f"{TRAIN}/test_loop.py", f"{TRAIN}/test_data.py"
WRITTEN = f"{STEP}::test_three_steps_are_those_written_out"
BOTH_DIRECTIONS = "(F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2"

TRAINING = (
    *changes(
        "cocu/model/loss.py",
        (f"{MODEL}/test_loss.py", WRITTEN),
        ("loss: InfoNCE from image to text alone", BOTH_DIRECTIONS, "F.cross_entropy(logits, target)"),
        ("loss: InfoNCE from text to image alone", BOTH_DIRECTIONS, "F.cross_entropy(logits.T, target)"),
        (
            "loss: the sum of both directions",
            "F.cross_entropy(logits.T, target)) / 2",
            "F.cross_entropy(logits.T, target))",
        ),
        (
            "loss: prompts against the images of their own place",
            "logits.log_softmax(0)[own",
            "logits.log_softmax(1)[own",
        ),
        (
            "loss: prompts among one image's alone",
            "logits.flatten(1).log_softmax(1)",
            "logits.log_softmax(2).flatten(1)",
        ),
        ("loss: no mean over segments", " - math.log(segments.shape[1])", ""),
        ("loss: the best segment alone", "similarity.logsumexp(-1)", "similarity.amax(-1)"),
        ("loss: prompts without the scale", 'scale * torch.einsum("ie,jme->ijm"', 'torch.einsum("ie,jme->ijm"'),
    ),
    *changes(
        "cocu/model/layers.py",
        (f"{MODEL}/test_groupvit.py", WRITTEN),
        ("layers: DropPath inverted", ">= self.share", "< self.share"),
        ("layers: DropPath does not enlarge", "x * keep / (1 - self.share)", "x * keep"),
        ("layers: DropPath of the whole batch", "torch.rand(len(x), *[1]", "torch.rand(1, *[1]"),
        (
            "layers: one branch is never dropped",
            "x + self.drop_path(self.mlp(self.norm2(x)))",
            "x + self.mlp(self.norm2(x))",
        ),
        ("layers: few queries lose their scale", "* (d // self.heads) ** -0.5", "* 1.0"),
        ("layers: few queries without the values' bias", ".reshape(b, n, d) + self.v.bias", ".reshape(b, n, d)"),
        ("layers: texts see what follows", "is_causal=causal", "is_causal=False"),
        (
            "layers: no unit length",
            "F.normalize(head(x.flatten(0, -2)).float(), dim=-1)",
            "head(x.flatten(0, -2)).float()",
        ),
    ),
    *changes(
        "cocu/model/grouping.py",
        (f"{MODEL}/test_groupvit.py", WRITTEN),
        (
            "grouping: no Gumbel noise",
            "F.gumbel_softmax(logits, dim=1) if self.gumbel and self.training",
            "soft if self.training",
        ),
        ("grouping: Gumbel noise in evaluation", "if self.gumbel and self.training", "if self.gumbel"),
        ("grouping: a soft assignment", "weights = hard + noisy - noisy.detach()", "weights = noisy"),
        ("grouping: no gradient through the choice", "hard + noisy - noisy.detach()", "hard"),
        ("grouping: patches share groups' softmax", "soft = logits.softmax(1)", "soft = logits.softmax(2)"),
        ("grouping: keys are not scaled", "InverseRms.apply(q) * self.scale", "InverseRms.apply(q)"),
        ("grouping: keys keep their length", "logits * InverseRms.apply(k).transpose(1, 2)", "logits * 1.0"),
        ("grouping: a wrong gradient of the length", "gradient * inverse**3", "gradient * inverse**2"),
        ("grouping: the values' bias counts whole", "+ weights.sum(-1, keepdim=True) * self.v.bias", "+ self.v.bias"),
        ("grouping: sums, not means", "weights / (weights.sum(-1, keepdim=True) + ASSIGN_EPS)", "weights"),
    ),
    *changes(
        "cocu/model/groupvit.py",
        (f"{MODEL}/test_groupvit.py", STEP),
        ("model: the temperature has no bound", "exp().clamp(max=100.0)", "exp()"),
        ("model: the temperature is turned around", "math.log(1 / config.temperature)", "math.log(config.temperature)"),
        ("model: the projector sees distinct texts alone", "self.text(distinct)[row])", "self.text(distinct))[row]"),
        (
            "model: segments and image in two batches",
            "return ImageOutput(projected[:, 0], projected[:, 1:], maps)",
            "return ImageOutput(project(self.image_head, segments.mean(1)), projected[:, 1:], maps)",
        ),
        (
            "model: every layer drops the same",
            "config.drop_path * i / max(1, layers - 1)",
            "config.drop_path",
        ),
        ("model: tokens are not carried on", "previous = stage.group_tokens", "previous = 0"),
    ),
    *changes(
        "cocu/train/step.py",
        (STEP,),
        (
            "step: the level of the loss inverted",
            'train.multi_label_level == "segment"',
            'train.multi_label_level != "segment"',
        ),
        ("step: the multi-label loss is left out", "loss = info + labels", "loss = info"),
        (
            "step: no clipping",
            "clip_grad_norm_(model.parameters(), train.clip_grad)",
            "clip_grad_norm_(model.parameters(), 1e9)",
        ),
        ("step: bfloat16 ignored", 'train.precision == "float32"', "True"),
        ("step: always bfloat16", 'train.precision == "float32"', "False"),
        (
            "step: losses in bfloat16",
            "    prompts, scale = text[b:]",
            "    text = text.bfloat16().float()\n    prompts, scale = text[b:]",
        ),
        ("step: gradients add up", "optimizer.zero_grad(set_to_none=True)", "pass"),
        ("step: what is not finite is stepped on", "if not torch.isfinite(loss + norm):", "if False:"),
    ),
    *changes(
        "cocu/train/optim.py",
        (
            WRITTEN,
            f"{LOOP}::test_weight_decay_spares_norms_biases_positions_tokens_and_the_temperature",
            f"{LOOP}::test_learning_rate_by_hand",
        ),
        ("optim: group tokens decay", '"group_tokens", ', ""),
        ("optim: positions decay", '"positions", ', ""),
        ("optim: tokens decay", ', "tokens.weight"', ""),
        (
            "optim: biases decay",
            "no_weight_decay_list=embeddings",
            "weight_decay_exclude_1d=False, no_weight_decay_list=embeddings",
        ),
        ("optim: nothing decays", "(model, config.weight_decay, ", "(model, 0.0, "),
        ("optim: the groups in timm's order", "groups[::-1]", "groups"),
        ("optim: torch's own betas", "betas=config.betas, ", ""),
        (
            "optim: the cosine ends early",
            "(step - warmup) / max(1, steps - warmup)",
            "(step - warmup) / max(1, steps - warmup - 1)",
        ),
        ("optim: the cosine ends at zero", "return config.lr_min + (config.lr - config.lr_min)", "return config.lr"),
        (
            "optim: the warm-up begins at zero",
            "return config.lr_warmup + (config.lr - config.lr_warmup)",
            "return config.lr",
        ),
    ),
    *changes(
        "cocu/train/loop.py",
        (WRITTEN,),
        (
            "loop: the learning rate a step late",
            "learning_rate(step - 1, steps, train)",
            "learning_rate(max(0, step - 2), steps, train)",
        ),
        (
            "loop: the learning rate a step early",
            "learning_rate(step - 1, steps, train)",
            "learning_rate(step, steps, train)",
        ),
        (
            "loop: the rate reaches one group alone",
            "for group in optimizer.param_groups:",
            "for group in optimizer.param_groups[:1]:",
        ),
        ("loop: noise is never switched on", "gumbel=config.train.gumbel", "gumbel=False"),
        ("loop: the seed does not reach the model", "torch.manual_seed(seed)", "torch.manual_seed(0)"),
    ),
    *changes(
        "cocu/train/loop.py",
        tuple(
            f"{LOOP}::{test}"
            for test in (
                "test_whatever_decides_the_weights_is_in_the_key_of_the_state",
                "test_weights_that_are_not_finite_are_never_kept",
                "test_epochs_count_where_steps_do_not",
                "test_the_curve_is_over_two_hundred_images_at_most",
                "test_a_resumed_run_goes_on_with_batches_and_curve",
                "test_infonce_that_stays_at_chance_is_said_once",
            )
        ),
        (
            "loop: the archive is missing from the state's key",
            "digest([file_sha256(side_car(archive, shard.shard)) for shard in shards]) if archive else None",
            "None",
        ),
        (
            "loop: the captions are missing from the state's key",
            "digest([file_sha256(side_car(captions, shard.shard)) for shard in shards])",
            "None",
        ),
        ("loop: shards of any bytes are one state", "(shard.shard, shard.sha256, shard.samples)", "shard.shard"),
        ("loop: the seed is missing from the state's key", '{"seed": seed, **inputs(', "{**inputs("),
        ("loop: validation on one image", "VALIDATION_IMAGES = 200", "VALIDATION_IMAGES = 1"),
        ("loop: the last weights are not looked at", "        check_finite(model, steps)\n", ""),
        ("loop: one epoch more", "config.train.epochs *", "(config.train.epochs + 1) *"),
        ("loop: chance is never said", "if mean > CHANCE * chance:", "if False:"),
        (
            "loop: a resumed run begins at the first batch",
            "batches(pairs, config, at.step, steps)",
            "batches(pairs, config, 0, steps - at.step)",
        ),
        ("loop: the curve forgets what was before", "config.train, at.curve", "config.train, ()"),
    ),
    *changes(
        "cocu/stamp.py",
        (f"{LOOP}::test_whatever_decides_the_weights_is_in_the_key_of_the_state",),
        (
            "loop: the model is missing from the state's key",
            '"cocu.train.loop", ("model", "train")',
            '"cocu.train.loop", ("train",)',
        ),
    ),
    *changes(
        "cocu/train/checkpoint.py",
        (f"{TRAIN}/test_checkpoint.py",),
        ("checkpoint: the random state is not restored", '    torch.set_rng_state(state["rng"])\n', ""),
        ("checkpoint: the moments are not restored", '        optimizer.load_state_dict(state["optimizer"])\n', ""),
        ("checkpoint: the earlier state is not kept", "(folder / STATE).replace(folder / EARLIER)", "pass"),
        (
            "checkpoint: the earlier state does not serve",
            "for path in (folder / STATE, folder / EARLIER):",
            "for path in (folder / STATE,):",
        ),
        ("checkpoint: a flipped bit is loaded", "broken = archive.testzip()", "broken = None"),
        (
            "checkpoint: buffers are not looked at",
            "for name, value in model.state_dict().items() if not torch",
            "for name, value in model.named_parameters() if not torch",
        ),
        ("checkpoint: infinite weights pass", "if not torch.isfinite(value).all()", "if torch.isnan(value).any()"),
        (
            "checkpoint: whatever fails is damage",
            "except (zipfile.BadZipFile, zlib.error",
            "except (Exception, zlib.error",
        ),
        ("checkpoint: code is run", "weights_only=True", "weights_only=False"),
        ("checkpoint: lines of metrics come twice", '["step"] <= step', '["step"] <= step + 1'),
    ),
    *changes(
        "cocu/train/augment.py",
        (f"{TRAIN}/test_augment.py",),
        ("augment: every seed is upright", "if self._flip and seed % 2 else pixels", "if False else pixels"),
        ("augment: flips whatever is configured", "self._flip and seed % 2", "seed % 2"),
        ("augment: the short way for every setting", "if self._flips_alone and pixels", "if pixels"),
        ("augment: no flip", "hflip=0.5 if config.flip else 0.0", "hflip=0.0"),
        ("augment: always flipped", "hflip=0.5 if config.flip else 0.0", "hflip=1.0 if config.flip else 0.0"),
        ("augment: whole images alone", "scale=config.crop_scale", "scale=(1.0, 1.0)"),
        ("augment: no jitter", "color_jitter=config.colour_jitter", "color_jitter=0.0"),
        ("augment: no operations", "auto_augment=config.rand_augment or None", "auto_augment=None"),
        ("augment: nothing is erased", "re_prob=config.erasing", "re_prob=0.0"),
        ("augment: erased to black", 're_mode="pixel"', 're_mode="const"'),
        ("augment: timm's posterize", "operation.aug_fn = posterize", "pass"),
        ("augment: numpy is not seeded", "np.random.seed(self.seed % 2**32)", "pass"),
        ("augment: numpy's state is lost", "np.random.set_state(numpy)", "pass"),
        ("augment: torch is not seeded", "torch.default_generator.manual_seed(self.seed)", "pass"),
    ),
    *changes(
        "cocu/train/data.py",
        (DATA,),
        ("data: the temperature is ignored", "temperature=self.prompts.temperature", "temperature=1.0"),
        ("data: replacement is ignored", "replacement=self.prompts.replacement and ranked", "replacement=ranked"),
        (
            "data: captions' concepts come twice",
            "replacement=self.prompts.replacement and ranked",
            "replacement=self.prompts.replacement",
        ),
        ("data: sampling is ignored", "sampling=self.prompts.sampling if ranked", 'sampling="cluster" if ranked'),
        ("data: one epoch is all epochs", "[self.seed, SAMPLE, epoch, i]", "[self.seed, SAMPLE, i]"),
        ("data: a batch is one sample to the generator", "[self.seed, SAMPLE, epoch, i]", "[self.seed, SAMPLE, epoch]"),
        ("data: the seed is no matter", "[self.seed, SAMPLE, epoch, i]", "[SAMPLE, epoch, i]"),
        ("data: every epoch in one order", "[self.seed, ORDER, epoch]", "[self.seed, ORDER]"),
        ("data: raw captions", "self.captions[i].as_py()", "self.reader.caption(i)"),
        ("data: captions of any corpus", "    if found == keys:\n", "    if len(found) == len(keys):\n"),
        ("data: archives of any corpus", "read_archive(archive, captions, shards)", "read_archive(archive, captions)"),
        ("data: any vocabulary", "        _same_vocabulary(archive, captions)\n", ""),
        (
            "data: the manifest's order",
            "sorted(manifest_shards(corpus), key=lambda file: file.shard)",
            "manifest_shards(corpus)",
        ),
        ("data: decoded again and again", "self._decoded[i] = pixels", "pass"),
        ("data: however large, kept decoded", "if pixels.nbytes * len(self) <= DECODED:", "if True:"),
        ("data: one template", "rng.integers(len(self.templates))", "0"),
        ("data: missing prompts are left empty", "[caption] *", "[0 * caption] *"),
        (
            "data: a resume begins anew",
            "for step in range(self.start, self.steps):",
            "for step in range(0, self.steps - self.start):",
        ),
    ),
)
