from __future__ import annotations

from cocu.model.prompts import templates


def test_there_are_the_eighty_templates_and_each_takes_one_concept() -> None:
    eighty = templates("imagenet")
    assert len(set(eighty)) == 80
    assert all(t.count("{}") == 1 and t.format("traffic light").count("traffic light") == 1 for t in eighty)
    assert templates("one") == ("a photo of a {}.",)
