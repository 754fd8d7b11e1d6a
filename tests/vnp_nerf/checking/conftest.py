"""A demo scene, copied and spoilt in one way."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

TEDDY = Path(__file__).parents[3] / "data/demo/furniture/blendswap-cc-0-teddybear"

Spoil = Callable[..., Path]


@pytest.fixture
def spoilt(tmp_path: Path) -> Spoil:
    """Copies the teddy bear. poses: what becomes of the 4 x 4 matrices [V, 4, 4]; views: how many are kept;
    nerfstudio: with a focal length, as a capture; others: keys of transforms.json.
    """

    def spoil(
        poses: Callable[[np.ndarray], np.ndarray] | None = None,
        views: int | None = None,
        nerfstudio: bool = False,
        **keys: Any,
    ) -> Path:
        folder = tmp_path / "bear"
        shutil.copytree(TEDDY, folder, dirs_exist_ok=True)
        meta = json.loads((folder / "transforms.json").read_text())
        meta["frames"] = meta["frames"][:views]
        if poses is not None:
            matrices = poses(np.array([frame["transform_matrix"] for frame in meta["frames"]]))
            for frame, matrix in zip(meta["frames"], matrices, strict=True):
                frame["transform_matrix"] = matrix.tolist()
        if nerfstudio:
            angle = meta.pop("camera_angle_x")
            meta |= {"fl_x": meta["w"] / 2 / np.tan(angle / 2), "camera_model": "OPENCV"}
        (folder / "transforms.json").write_text(json.dumps({**meta, **keys}))
        return folder

    return spoil
