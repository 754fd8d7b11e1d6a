"""Binary glTF, through trimesh."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from vnp_core.errors import MissingDependencyError
from vnp_nerf.exporting.meshes import SurfaceMesh
from vnp_nerf.exporting.new_files import write_new

_UNLIT = "KHR_materials_unlit"


def write_glb(path: Path, mesh: SurfaceMesh, notes: Mapping[str, str] | None = None) -> Path:
    """Vertices with colour, normal, and sigma as the attributes _SIGMA_COLOUR and _SIGMA_DENSITY.

    Coordinates stay those of the mesh, while glTF viewers take +y for up. The material is unlit, for the
    colour of a field holds its light already. Notes are the mesh's `extras`. Raises `OutputExistsError`.
    """
    try:
        import trimesh
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "trimesh is not installed, and GLB files need it: pip install trimesh"
        ) from error
    vertices = mesh.vertices
    built = trimesh.Trimesh(
        vertices=vertices.points,
        faces=mesh.faces,
        vertex_normals=vertices.normals,
        vertex_colors=np.c_[linear_bytes(vertices.rgb), np.full(len(vertices), 255, np.uint8)],
        vertex_attributes={
            "_SIGMA_COLOUR": vertices.colour_sigma.astype(np.float32),
            "_SIGMA_DENSITY": vertices.density_sigma.astype(np.float32),
        },
        metadata={**(notes or {}), "sigma": vertices.sigma_note()},
        process=False,
    )
    content = built.export(file_type="glb", include_normals=True, tree_postprocessor=_make_unlit)
    assert isinstance(content, bytes)
    write_new({path: content})
    return path


def linear_bytes(srgb: Float[np.ndarray, "N 3"]) -> UInt8[np.ndarray, "N 3"]:
    """sRGB colours, 0 to 1, as the linear ones that glTF's vertices have (IEC 61966-2-1)."""
    srgb = srgb.clip(0, 1)
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    return (linear * 255).round().astype(np.uint8)


def _make_unlit(tree: dict[str, Any]) -> None:
    tree["materials"] = [
        {
            "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 1.0},
            "extensions": {_UNLIT: {}},
        }
    ]
    tree["extensionsUsed"] = [_UNLIT]
    for mesh in tree["meshes"]:
        for primitive in mesh["primitives"]:
            primitive["material"] = 0
