"""Which data set is prepared: the user's, of its own hands, or one that is rendered once."""

import copy
from pathlib import Path

import pytest
from projects import change

from handdgcl.data import source as sources
from handdgcl.data.source import open_source
from handdgcl.files import InputError


@pytest.fixture
def rendered(monkeypatch):
    """Calls of the generator, which makes a folder and nothing else here."""
    calls = []

    def write(folder, generate, hands, *, workers):
        folder.mkdir(parents=True)
        calls.append(generate)

    monkeypatch.setattr(sources, "write_dataset", write)
    return calls


def test_a_named_data_set_is_left_alone(rendered, tiny_config, hands, tmp_path):
    config = change(tiny_config, "data", source="data/InterHand2.6M", hands="data/mano")
    assert open_source(config, hands, tmp_path / "interhand") == Path("data/InterHand2.6M")
    assert not rendered


def test_fits_are_posed_with_their_own_hands_only(tiny_config, tiny_store, hands, tmp_path):
    """A rendered data set says whose they are; of any other the open hand's they cannot be."""
    other = copy.deepcopy(hands)
    other.template[0, 0, 0] += 1e-3
    named = lambda folder: change(tiny_config, "data", source=str(folder))
    (tmp_path / "images").mkdir()
    with pytest.raises(InputError, match="MANO_LEFT"):
        open_source(named(tmp_path), hands, tmp_path / "interhand")
    (tmp_path / "hands.sha256").write_text(hands.fingerprint())
    assert open_source(named(tmp_path), hands, tmp_path / "interhand") == tmp_path
    with pytest.raises(InputError, match=r"data\.hands"):
        open_source(named(tmp_path), other, tmp_path / "interhand")


def test_rendered_once_for_the_same_input_and_code(rendered, tiny_config, hands, tmp_path, monkeypatch):
    folder, other = tmp_path / "interhand", copy.deepcopy(hands)
    other.template[0, 0, 0] += 1e-3
    folder.mkdir()
    (folder / "half").touch()  # of an interrupted rendering
    for config in (tiny_config, tiny_config, change(tiny_config, "train", epochs=7)):
        assert open_source(config, hands, folder) == folder
    assert len(rendered) == 1 and not (folder / "half").exists()
    for model in (hands, other):
        open_source(change(tiny_config, "generate", seed=7), model, folder)
    assert len(rendered) == 3
    monkeypatch.setattr(sources, "code_digest", lambda *modules, leave_out: "changed code")
    open_source(change(tiny_config, "generate", seed=7), other, folder)
    assert len(rendered) == 4
