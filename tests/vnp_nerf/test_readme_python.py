"""The README's Python, run exactly as it stands there."""

import re
from pathlib import Path

import pytest
import torch
import trimesh
from PIL import Image

ROOT = Path(__file__).parents[2]


@pytest.fixture
def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


def statements(block: str) -> list[str]:
    return [line for line in block.splitlines() if line and not line.startswith("import")]


def test_ten_lines_go_from_posed_pictures_to_a_novel_view_with_sigma(
    blocks: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert len(statements(blocks[0])) <= 10
    (tmp_path / "data").symlink_to(ROOT / "data")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(blocks[0], names)
    assert "sigma torch.Size([64, 64])" in capsys.readouterr().out
    picture = names["picture"]
    assert Image.open("novel_view.png").size == (64, 64)
    assert picture.sigma.max() > 1e-4
    truth = torch.from_numpy(names["scene"].picture(4)).float() / 255
    alpha = torch.nn.functional.avg_pool2d(truth[None, ..., 3], 2)[0]
    assert (picture.accumulation - alpha).abs().mean() < 0.1
    bounds = trimesh.load("bear.ply").bounds
    assert abs(bounds).max() < 1.1
    assert (bounds[1] - bounds[0]).max() > 1


def test_eight_lines_go_from_points_to_functions_and_from_pixels_to_a_picture(
    blocks: list[str], capsys: pytest.CaptureFixture[str]
):
    assert len(blocks) == 2
    assert len(statements(blocks[1])) <= 8
    *lines, last = statements(blocks[1])
    names: dict = {}
    exec("import vnp_core\n" + "\n".join(lines), names)
    assert names["answer"].mean.shape == (3,)
    assert (names["answer"].sigma > 0).all()
    assert names["curves"].shape == (8, 3)
    assert eval(last.partition("  #")[0], names).shape == (28, 28)
