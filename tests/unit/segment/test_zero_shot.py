from __future__ import annotations

from typing import Any

import pytest
import torch

from cocu.errors import NumericsError
from cocu.segment.zero_shot import Groups, Patches, hard_groups, see, text_embeddings, weigh


def test_text_embeddings_are_averaged_over_templates_then_normalised(model: Any) -> None:
    model.encode_text = lambda ids: torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    text = text_embeddings(model, ["bird", "cat"], ["a {}.", "the {}."])
    assert torch.allclose(text, torch.tensor([[0.5**0.5, 0.5**0.5], [1.0, 0.0]]))


def test_groups_are_decided_after_the_map_is_resized() -> None:
    # Two patches, 0.9 and 0.2 of group 0, resized to 8 columns: at column x from 2 to 5 the share is
    # 0.9 - 0.7 (x - 1.5) / 4, that is 0.6375 at 3 and 0.4625 at 4.
    share = torch.tensor([0.9, 0.2])
    maps = torch.stack([share, 1 - share], -1).reshape(1, 1, 2, 2)
    assert hard_groups(maps, 1, 8)[0, 0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    # With 0.9 and 0.4: 0.9 - 0.5 (x - 1.5) / 4, 0.5875 at 4 and 0.4625 at 5. Deciding first would keep the middle.
    share = torch.tensor([0.9, 0.4])
    maps = torch.stack([share, 1 - share], -1).reshape(1, 1, 2, 2)
    assert hard_groups(maps, 1, 8)[0, 0].tolist() == [0, 0, 0, 0, 0, 1, 1, 1]


def test_every_pixel_gets_its_groups_logits() -> None:
    groups = torch.tensor([[[0, 1], [1, 1]], [[1, 0], [0, 0]]])
    logits = torch.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [[7.0, 8.0, 9.0], [10.0, 11.0, 12.0]]])
    painted = Groups(groups).paint(logits)
    assert painted.shape == (2, 3, 2, 2)
    assert painted[0, :, 0, 0].tolist() == [1, 2, 3] and painted[0, :, 1, 0].tolist() == [4, 5, 6]
    assert painted[1, :, 0, 0].tolist() == [10, 11, 12] and painted[1, :, 1, 1].tolist() == [7, 8, 9]


def test_between_the_centres_of_patches_logits_are_interpolated_and_padding_is_cut_off() -> None:
    # Two patches of 4 columns, 1 and 0: at column x from 1.5 to 5.5 the logit is 1 - (x - 1.5) / 4. Seven are kept.
    painted = Patches(grid=(1, 2), padded=(4, 8), size=(3, 7)).paint(torch.tensor([[[1.0], [0.0]]]))
    assert painted.shape == (1, 1, 3, 7)
    assert painted[0, 0, 2].tolist() == [1.0, 1.0, 0.875, 0.625, 0.375, 0.125, 0.0]


def test_a_window_that_is_no_multiple_of_the_patch_keeps_its_size(model: Any) -> None:
    window = torch.zeros(1, 3, 6, 9)
    window[:, 0] = 1
    evidence = weigh(see(model, window), model.scale(), torch.eye(4)[:3])
    assert evidence.regions.labels.shape == (1, 6, 9)
    assert (evidence.regions.labels[0, :4, :8] == 0).all()


def test_padding_takes_no_part_of_the_window(model: Any) -> None:
    # Red, and blue from column 4 on; padded to 8 columns the centres of the patches are at 1.5 and 5.5, and the groups
    # meet at 3.6. A map that is resized to the 6 columns themselves has them at 1 and 4, and blue begins at 3.
    window = torch.zeros(1, 3, 4, 6)
    window[:, 0, :, :4] = 1
    window[:, 2, :, 4:] = 1
    assert weigh(see(model, window), model.scale(), torch.eye(4)[:3]).regions.labels[0, 2].tolist() == [
        0,
        0,
        0,
        0,
        2,
        2,
    ]


@torch.no_grad()
def test_scores_are_those_of_similarities_times_the_models_scale(model: Any) -> None:
    generator = torch.Generator().manual_seed(1)
    windows = torch.rand(2, 3, 8, 12, generator=generator)
    text = torch.nn.functional.normalize(torch.randn(7, 4, generator=generator), dim=-1)
    evidence, seen = weigh(see(model, windows), model.scale(), text), model.encode_image(windows)
    words = torch.stack([(10 * (text @ embedding)).softmax(0) for embedding in seen.embedding])
    torch.testing.assert_close(evidence.words, words)
    for b in range(2):
        kept = words[b].topk(5).indices
        for g in range(4):
            logits = 10 * (text @ seen.segments[b, g])
            expected = torch.zeros(7)
            expected[kept] = logits.softmax(0)[kept] * logits[kept].softmax(0)
            torch.testing.assert_close(evidence.scores[b, g], expected)


def test_an_output_that_is_not_finite_is_refused(model: Any) -> None:
    with pytest.raises(NumericsError, match="not finite"):
        weigh(see(model, torch.full((1, 3, 8, 8), torch.nan)), model.scale(), torch.eye(4)[:3])
