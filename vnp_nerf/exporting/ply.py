"""PLY files: binary, little-endian, with notes in the header."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Int, Shaped

from vnp_nerf.exporting.meshes import SurfaceMesh
from vnp_nerf.exporting.new_files import write_new
from vnp_nerf.exporting.point_sets import PointSet

Notes = Mapping[str, str]
"""What a file says about itself: which draw it came from, its frame, and whatever else its maker knows."""

_FLOAT, _BYTE = "<f4", "|u1"
_TYPES = {_FLOAT: "float", _BYTE: "uchar"}
_FACE = np.dtype([("count", "u1"), ("vertex_indices", "<i4", (3,))])


def write_mesh(path: Path, mesh: SurfaceMesh, notes: Notes | None = None) -> Path:
    """Vertices (see `write_points`) and triangles. Raises `OutputExistsError`."""
    write_new({path: points_bytes(mesh.vertices, notes, mesh.faces)})
    return path


def write_points(path: Path, points: PointSet, notes: Notes | None = None) -> Path:
    """x y z, nx ny nz where there are normals, red green blue (bytes), sigma_colour, sigma_density.

    Raises `OutputExistsError`.
    """
    write_new({path: points_bytes(points, notes)})
    return path


def points_bytes(
    points: PointSet, notes: Notes | None = None, faces: Int[np.ndarray, "F 3"] | None = None
) -> bytes:
    """A PLY file of points, maybe with triangles between them; its header holds notes, and what sigma is."""
    columns = {name: points.points[:, axis] for axis, name in enumerate("xyz")}
    if points.normals is not None:
        columns |= {f"n{name}": points.normals[:, axis] for axis, name in enumerate("xyz")}
    shades = (points.rgb.clip(0, 1) * 255).round().astype(np.uint8)
    columns |= {name: shades[:, channel] for channel, name in enumerate(("red", "green", "blue"))}
    columns |= {"sigma_colour": points.colour_sigma, "sigma_density": points.density_sigma}
    return ply_bytes(columns, {**(notes or {}), "sigma": points.sigma_note()}, faces)


def ply_bytes(
    columns: Mapping[str, Shaped[np.ndarray, "N"]],
    notes: Notes | None = None,
    faces: Int[np.ndarray, "F 3"] | None = None,
) -> bytes:
    """A PLY file of named columns: bytes stay bytes, all others become float32."""
    kinds = {name: _BYTE if column.dtype == np.uint8 else _FLOAT for name, column in columns.items()}
    vertices = np.empty(len(next(iter(columns.values()))), list(kinds.items()))
    for name, column in columns.items():
        vertices[name] = column
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(vertices)}"]
    header += [f"property {_TYPES[kind]} {name}" for name, kind in kinds.items()]
    body = vertices.tobytes()
    if faces is not None:
        header += [f"element face {len(faces)}", "property list uchar int vertex_indices"]
        rows = np.empty(len(faces), _FACE)
        rows["count"], rows["vertex_indices"] = 3, faces
        body += rows.tobytes()
    # Escaped, so that no scene's name can end the line or leave ASCII.
    said = [f"{name}: {text}" for name, text in (notes or {}).items()]
    header += [f"comment {line.encode('unicode_escape').decode()}" for line in said]
    return "\n".join([*header, "end_header", ""]).encode("ascii") + body
