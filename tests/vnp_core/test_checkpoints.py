"""Weights on disk: what is saved is loaded, and whatever is wrong is named."""

import hashlib
import json
import re
from pathlib import Path

import pytest
import torch
from torch import nn

import vnp_core
from vnp_core.checkpoints import checkpoint_paths, load_into, load_weights, save_weights
from vnp_core.config import from_dict, to_dict
from vnp_core.encoder import BottleneckEncoder, EncoderConfig
from vnp_core.errors import CheckpointError, ConfigError

pytestmark = pytest.mark.fault("damaged or hostile weights")

CONFIG = EncoderConfig(width=8, layers=1, heads=2, hidden=12)


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    model = BottleneckEncoder(CONFIG)
    return model, save_weights(tmp_path / "v0.1", model, to_dict(CONFIG), {"trained": "nowhere", "steps": 3})


def test_weights_config_and_metadata_survive_the_round_trip(saved, tmp_path):
    model, path = saved
    config, metadata, state = load_weights(path)
    again = BottleneckEncoder(from_dict(EncoderConfig, config))
    load_into(again, state)
    assert from_dict(EncoderConfig, config) == CONFIG
    assert metadata == {"trained": "nowhere", "steps": 3}
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["v0.1.json", "v0.1.safetensors"]


def test_the_same_weights_give_the_same_bytes(saved, tmp_path):
    model, path = saved
    again = save_weights(tmp_path / "again", model, to_dict(CONFIG), {"trained": "nowhere", "steps": 3})
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", ["v0.1", "v0.1.safetensors", "v0.1.json"])
def test_a_name_with_a_dot_may_be_given_with_either_suffix_or_none(saved, tmp_path, name):
    assert checkpoint_paths(tmp_path / name)[0] == saved[1]
    assert load_weights(tmp_path / name).metadata["steps"] == 3


def test_bfloat16_halves_the_file_and_comes_back_as_float32(saved, tmp_path):
    model, path = saved
    state = {**model.state_dict(), "steps": torch.tensor(2**20 + 1)}
    half = save_weights(tmp_path / "half", state, {}, bfloat16=True)
    loaded = load_weights(half).state_dict
    assert half.stat().st_size < 0.8 * path.stat().st_size
    assert loaded["steps"].item() == 2**20 + 1
    for name, tensor in model.state_dict().items():
        assert loaded[name].dtype == torch.float32
        assert torch.equal(loaded[name], tensor.bfloat16().float())


def test_tensors_that_share_memory_are_saved_apart(tmp_path):
    base = torch.arange(6.0).reshape(2, 3)
    path = save_weights(tmp_path / "views", {"a": base, "b": base.T}, {})
    assert torch.equal(load_weights(path).state_dict["b"], base.T)


def test_a_failed_save_leaves_the_old_files_alone(saved, tmp_path):
    _, path = saved
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_weights(path, {"a": torch.zeros(1)}, {"not": object()})
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 2


def test_a_truncated_file_is_named(saved):
    _, path = saved
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="truncated"):
        load_weights(path)


def test_exchanged_weights_are_found_by_their_hash(saved, tmp_path):
    model, path = saved
    with torch.no_grad():
        model.null_token += 1
    save_weights(tmp_path / "other", model, to_dict(CONFIG))
    path.write_bytes((tmp_path / "other.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="SHA-256"):
        load_weights(path)


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_a_missing_half_is_named(saved, suffix):
    _, path = saved
    path.with_name("v0.1" + suffix).unlink()
    with pytest.raises(CheckpointError, match=f"v0.1{suffix}.*pair of files"):
        load_weights(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON"),
        ("[]", "no card of weights"),
        ('{"format": "other"}', "no card of weights"),
        ('{"format": "vnp-weights-1"}', "lacks one of"),
        (
            '{"format": "vnp-weights-1", "config": {}, "metadata": {}, "sha256": "", "tensors": {"a": 1}}',
            "lacks one",
        ),
    ],
)
def test_a_damaged_card_is_named(saved, text, message):
    _, path = saved
    path.with_name("v0.1.json").write_text(text)
    with pytest.raises(CheckpointError, match=message):
        load_weights(path)


def edit_card(path, change) -> None:
    card_path = path.with_name("v0.1.json")
    card = json.loads(card_path.read_text())
    change(card)
    card_path.write_text(json.dumps(card))


def test_a_card_that_tells_of_other_tensors_is_refused(saved):
    _, path = saved
    edit_card(path, lambda card: card["tensors"]["null_token"].update(shape=[9]))
    with pytest.raises(CheckpointError, match=r"'null_token' has shape \(8,\), expected was \(9,\)"):
        load_weights(path)


def test_an_unknown_type_of_tensor_is_refused(saved):
    _, path = saved
    edit_card(path, lambda card: card["tensors"]["null_token"].update(dtype="float7"))
    with pytest.raises(CheckpointError, match="'float7'"):
        load_weights(path)


def test_an_unknown_key_in_the_config_names_the_nearest(saved):
    _, path = saved
    edit_card(path, lambda card: card["config"].update(layrs=2))
    with pytest.raises(ConfigError, match="Did you mean 'layers'"):
        from_dict(EncoderConfig, load_weights(path).config)


def test_another_architecture_is_refused_naming_the_first_difference(saved):
    _, path = saved
    state = load_weights(path).state_dict
    with pytest.raises(CheckpointError, match=r"tensors are missing, the first is 'blocks\.1"):
        load_into(BottleneckEncoder(EncoderConfig(8, 2, 2, 12)), state, "v0.1")
    with pytest.raises(CheckpointError, match=r"not known, the first is 'blocks\.0"):
        load_into(nn.LayerNorm(8), state, "v0.1")
    with pytest.raises(CheckpointError, match=r"has shape \(12, 8\), expected was \(16, 8\)"):
        load_into(BottleneckEncoder(EncoderConfig(8, 1, 2, 16)), state, "v0.1")


def test_nothing_in_the_package_unpickles():
    for file in Path(vnp_core.__file__).parent.rglob("*.py"):
        assert not re.search(
            r"import pickle|pickle\.|torch\.load\b|joblib|numpy\.load|np\.load", file.read_text()
        )


def forge(path, change_header) -> None:
    """Edits the weights' header, and gives the card the hash of what comes of it."""
    blob = path.read_bytes()
    length = int.from_bytes(blob[:8], "little")
    header = json.loads(blob[8 : 8 + length])
    change_header(header)
    text = json.dumps(header).encode()
    blob = len(text).to_bytes(8, "little") + text + blob[8 + length :]
    path.write_bytes(blob)
    edit_card(path, lambda card: card.update(sha256=hashlib.sha256(blob).hexdigest()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda header: header["null_token"].update(shape=[10**12]), "truncated or no safetensors"),
        (lambda header: header["null_token"].update(data_offsets=[0, 10**15]), "truncated or no safetensors"),
        (lambda header: header["null_token"].update(dtype="I32"), "'null_token' is of type I32"),
        (
            lambda header: header["null_token"].update(shape=[2, 4]),
            r"has shape \(2, 4\), expected",
        ),
        (lambda header: header.update(more=header.pop("null_token")), "not known, the first is 'more'"),
    ],
)
def test_a_header_that_claims_something_else_is_refused_before_any_tensor_is_read(
    saved, monkeypatch, change, message
):
    _, path = saved
    forge(path, change)
    monkeypatch.setattr("vnp_core.checkpoints.load", None)
    with pytest.raises(CheckpointError, match=message):
        load_weights(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda card: card.update(run="me"), "unknown key 'run'"),
        (lambda card: card["tensors"]["null_token"].update(loader="x"), "says more of it"),
        (lambda card: card["tensors"]["null_token"].update(shape=[-8]), "impossible shape"),
        (lambda card: card["tensors"]["null_token"].update(shape=[2**40, 2**40]), "impossible shape"),
        (lambda card: card["tensors"]["null_token"].update(shape=[True]), "impossible shape"),
        (lambda card: card["tensors"]["null_token"].update(dtype="load"), "unknown tensor type 'load'"),
        (lambda card: card.update(sha256="short"), "SHA-256 that is none"),
        (lambda card: card.update(config=[1]), "lacks one of config"),
    ],
)
def test_a_card_that_says_what_no_card_says_is_refused(saved, change, message):
    _, path = saved
    edit_card(path, change)
    with pytest.raises(CheckpointError, match=message):
        load_weights(path)


def test_weights_of_an_unreasonable_size_are_refused_unread(saved):
    _, path = saved
    with path.open("r+b") as file:
        file.truncate(5 * 2**30)  # a hole, which takes no disk
    with pytest.raises(CheckpointError, match="5120 MiB; more than 4096 MiB"):
        load_weights(path)
