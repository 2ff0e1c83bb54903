from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from cocu.model.loss import image_logits, info_nce, multi_label, segment_logits


def test_info_nce_by_hand() -> None:
    # Two pairs, orthogonal: each direction is log(1 + e^-s) for a scale s.
    eye, scale = torch.eye(2), torch.tensor(3.0)
    torch.testing.assert_close(info_nce(eye, eye, scale), torch.tensor(math.log(1 + math.exp(-3))))
    torch.testing.assert_close(info_nce(eye, eye.flip(0), scale), torch.tensor(math.log(1 + math.exp(3))))


def test_multi_label_equals_the_soft_target_cross_entropy_written_out() -> None:
    torch.manual_seed(0)
    b, m, e = 3, 2, 5
    image, prompts = F.normalize(torch.randn(b, e), dim=-1), F.normalize(torch.randn(b, m, e), dim=-1)
    scale = torch.tensor(4.0)
    total = 0.0
    flat = prompts.flatten(0, 1)
    for i in range(b):
        logits = scale * flat @ image[i]
        for k in range(m):
            total -= float(logits[i * m + k] - logits.logsumexp(0)) / (b * m) / 2
            column = scale * image @ prompts[i, k]
            total -= float(column[i] - column.logsumexp(0)) / (b * m) / 2
    found = multi_label(image_logits(image, prompts, scale))
    torch.testing.assert_close(found, torch.tensor(total))


def test_segment_level_is_the_image_level_when_all_segments_agree() -> None:
    torch.manual_seed(1)
    image, prompts = F.normalize(torch.randn(3, 4), dim=-1), F.normalize(torch.randn(3, 2, 4), dim=-1)
    scale = torch.tensor(7.0)
    segments = image[:, None].expand(-1, 6, -1)
    torch.testing.assert_close(segment_logits(segments, prompts, scale), image_logits(image, prompts, scale))


def test_segment_level_hears_one_segment_that_the_mean_would_drown() -> None:
    segments = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]])
    prompt, scale = torch.tensor([[[1.0, 0.0]]]), torch.tensor(50.0)
    assert image_logits(segments.mean(1), prompt, scale).item() == 0.0
    assert segment_logits(segments, prompt, scale).item() > 49.0
