"""Figures are pictures of the data they are given, and whole files."""

from pathlib import Path
from typing import Any

import matplotlib.image
import pytest
import torch

from vnp_core.bench.encoding_cost import Cost
from vnp_core.bench.figures import (
    Curve,
    Panel,
    draw_calibration,
    draw_context_curves,
    draw_costs,
    draw_predictions,
    draw_training,
    lines_of,
)
from vnp_core.bench.training_state import HistoryRow


def panel(shift: float) -> Panel:
    x = torch.linspace(-2, 2, 11)
    line = torch.sin(x) + shift
    return Panel(
        "m", x, line - 1, line + 1, line, line.expand(3, -1), torch.zeros(3, 2), torch.tensor([[1.0, shift]])
    )


def history(kl: list[float]) -> list[HistoryRow]:
    return [HistoryRow(step, {"loss": 2 / step}, kl) for step in (1, 2, 3)]


def draw(name: str, path: Path) -> None:
    curve = Curve("a", (3, 8), (0.1, 0.2), (0.01, 0.02))
    if name == "predictions":
        draw_predictions(path, [[panel(0.0), panel(1.0)], [panel(2.0), panel(3.0)]])
    elif name == "contexts":
        ceiling = Curve("c", (3, 8), (1.0, 1.2), (0.0, 0.0), ceiling=True)
        draw_context_curves(path, {"per point": [curve, ceiling], "joint": [curve]})
    elif name == "calibration":
        draw_calibration(path, (0.1, 0.5, 0.9), {"a": (0.2, 0.5, 0.8)})
    elif name == "training":
        draw_training(path, {"a": history([1.0, 0.5]), "b": history([])})
    elif name == "training-without-latents":
        draw_training(path, {"b": history([])})
    else:
        draw_costs(path, {"full": [Cost(8, 0.1, 1000), Cost(16, 0.4, 4000)]})


@pytest.mark.parametrize(
    "name",
    ["predictions", "contexts", "calibration", "training", "training-without-latents", "costs"],
)
def test_a_figure_is_one_whole_picture(name: str, tmp_path: Path) -> None:
    path = tmp_path / "figures" / f"{name}.png"
    draw(name, path)
    assert [found.name for found in path.parent.iterdir()] == [path.name]
    pixels = matplotlib.image.imread(path)
    assert pixels.shape[0] > 300
    assert pixels.shape[1] > 500
    assert pixels[..., :3].std() > 0.02


def test_a_figure_that_fails_leaves_the_old_one_and_no_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f.png"
    path.write_bytes(b"old")

    def fail(*_args: object, **_settings: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        draw("costs", path)
    assert path.read_bytes() == b"old"
    assert [found.name for found in tmp_path.iterdir()] == ["f.png"]


def test_no_two_lines_look_alike() -> None:
    looks = [tuple(look.values()) for look in lines_of([str(number) for number in range(24)]).values()]
    assert len(set(looks)) == 24


def test_a_model_has_one_look_in_all_panels_and_what_is_far_below_squeezes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Any] = []
    monkeypatch.setattr(
        "vnp_core.bench.figures.write_figure", lambda figure, *_, **__: figures.append(figure)
    )
    models = [Curve(name, (3, 8), (low, low + 1), (0.01, 0.01)) for low, name in enumerate("abc")]
    below = Curve("gp", (3, 8), (-50.0, -2.0), (0.1, 0.1), ceiling=True)
    draw_context_curves(tmp_path / "a.png", {"all": [*models, below], "some": models[1:]})
    left, right = figures[0].axes
    looks = [
        {text: line[0].get_color() for line, text in zip(*axis.get_legend_handles_labels(), strict=True)}
        for axis in (left, right)
    ]
    assert looks[1] == {name: looks[0][name] for name in "bc"}
    assert len(set(looks[0].values())) == 4
    bottom, top = left.get_ylim()
    assert -4 < bottom < 0 < 3 < top
