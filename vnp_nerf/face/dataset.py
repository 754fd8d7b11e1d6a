"""The pictures of the focus scene, for nerfstudio's tools."""

import numpy as np
import numpy.typing as npt
from jaxtyping import UInt8
from nerfstudio.data.dataparsers.base_dataparser import DataparserOutputs
from nerfstudio.data.datasets.base_dataset import InputDataset
from PIL import Image

from vnp_nerf.face.dataparser import FocusOutputs
from vnp_nerf.scene import Scene


class FocusDataset(InputDataset):
    """Pictures of one scene, at the sizes of their cameras; those of virtual cameras are empty."""

    def __init__(self, dataparser_outputs: DataparserOutputs, scale_factor: float = 1.0) -> None:
        assert isinstance(dataparser_outputs, FocusOutputs)
        assert dataparser_outputs.scene is not None
        self.scene: Scene = dataparser_outputs.scene
        self.views = dataparser_outputs.views
        super().__init__(dataparser_outputs, scale_factor)

    def get_numpy_image(self, image_idx: int) -> npt.NDArray[np.uint8]:
        """Straight-alpha RGBA bytes [H, W, 4]."""
        height, width = int(self.cameras.height[image_idx]), int(self.cameras.width[image_idx])
        view = self.views[image_idx]
        if view is None:
            return np.zeros((height, width, 4), dtype=np.uint8)
        picture = self.scene.picture(view)
        if picture.shape[:2] == (height, width):
            return picture
        return np.array(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))

    def alpha(self, image_idx: int) -> UInt8[np.ndarray, "H W"]:
        """How opaque each pixel is, 0 to 255."""
        return self.get_numpy_image(image_idx)[..., 3]
