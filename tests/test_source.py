from pathlib import Path

import pytest

from handdgcl.config import from_dict, to_dict
from handdgcl.data import source


@pytest.fixture
def rendered(monkeypatch):
    """Calls of the generator, which makes a folder and nothing else here."""
    calls = []

    def write(folder, generate, hands, *, workers):
        folder.mkdir(parents=True)
        calls.append(generate)

    monkeypatch.setattr(source, "write_dataset", write)
    return calls


def changed(config, section, **values):
    raw = to_dict(config)
    return from_dict(raw | {section: raw[section] | values})


def test_a_named_data_set_is_left_alone(rendered, tiny_config, hands, tmp_path):
    config = changed(tiny_config, "data", source="data/InterHand2.6M")
    assert source.open_source(config, hands, tmp_path / "interhand") == Path("data/InterHand2.6M")
    assert not rendered
    assert not any(tmp_path.iterdir())


def test_rendered_once_for_the_same_parameters(rendered, tiny_config, hands, tmp_path):
    folder = tmp_path / "interhand"
    for config in (tiny_config, tiny_config, changed(tiny_config, "train", epochs=7)):
        assert source.open_source(config, hands, folder) == folder
    assert len(rendered) == 1
    source.open_source(changed(tiny_config, "generate", seed=7), hands, folder)
    assert len(rendered) == 2


def test_an_interrupted_rendering_is_not_taken_for_a_whole_one(rendered, tiny_config, hands, tmp_path):
    folder = tmp_path / "interhand"
    folder.mkdir()
    (folder / "half").touch()
    source.open_source(tiny_config, hands, folder)
    assert len(rendered) == 1
    assert not (folder / "half").exists()
