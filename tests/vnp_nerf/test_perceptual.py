"""LPIPS is measured with weights that are there, and never by fetching any. Here they are random ones."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision.models

from vnp_nerf import perceptual


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place for torch's weights, and no way to fetch any."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *_, **__: pytest.fail("fetched"))
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


def test_without_weights_there_is_no_lpips(hub: Path) -> None:
    assert perceptual.find_perceptual() is None


def test_with_weights_a_picture_is_nearest_to_itself(hub: Path) -> None:
    random: Any = torchvision.models.squeezenet1_1(weights=None)
    path = perceptual.weights_file("squeeze")
    assert path.parent == hub
    torch.save(random.state_dict(), path)
    measure = perceptual.find_perceptual()
    assert measure is not None
    assert measure.name == "lpips_squeeze"
    truth = torch.rand(64, 64, 3, generator=torch.Generator().manual_seed(0))
    near, far = (truth + share * (1 - 2 * truth) for share in (0.1, 0.9))
    assert measure(truth, truth) == 0
    assert 0 < measure(near, truth) < measure(far, truth)
