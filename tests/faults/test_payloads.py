"""A payload hidden in a file of each kind that somebody else may have made does not run."""

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from vnp_core.checkpoints import load_weights
from vnp_core.errors import VNPError
from vnp_core.results import read_results
from vnp_core.tasks.csv_tasks import read_csv_functions
from vnp_nerf.baked_file import open_baked
from vnp_nerf.library import load_model
from vnp_nerf.pairs import read_pairs
from vnp_nerf.pictures import read_rgba
from vnp_nerf.readers import open_collection, open_scene

pytestmark = pytest.mark.fault("a file that hides a program")

SHIPPED = Path(__file__).resolve().parents[2] / "data" / "weights" / "vnp-nerf-furniture.safetensors"


class Payload:
    """Unpickling one makes a folder."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def weights(path: Path) -> object:
    shutil.copy(SHIPPED.with_suffix(".json"), path.with_suffix(".json"))
    return load_weights(path)


def card(path: Path) -> object:
    shutil.copy(SHIPPED, path.with_suffix(".safetensors"))
    return load_model(path.with_suffix(".safetensors"))


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "weights": ("w.safetensors", weights),
    "card": ("w.json", card),
    "baked field": ("b.safetensors", open_baked),
    "results": ("results.json", read_results),
    "pairs": ("pairs.json", read_pairs),
    "picture": ("picture.png", read_rgba),
    "table": ("table.csv", lambda path: read_csv_functions(path, ["x"], ["y"], None)),
    "transforms": ("scene/transforms.json", lambda path: open_scene(path.parent)),
    "intrinsics": ("srn/intrinsics.txt", lambda path: open_scene(path.parent)),
    "splits": ("cars/splits.json", lambda path: open_collection(path.parent.parent)),
}


@pytest.mark.parametrize("kind", READERS)
def test_a_pickle_in_place_of_a_file_is_refused_and_not_run(kind: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    name, read = READERS[kind]
    path = tmp_path / name
    (path.parent / "pose").mkdir(parents=True)
    path.write_bytes(pickle.dumps(Payload(mark)))
    if kind == "intrinsics":
        (path.parent / "rgb").mkdir()
        Image.new("RGB", (4, 4)).save(path.parent / "rgb" / "0.png")
    with pytest.raises(VNPError):
        read(path)
    assert not mark.exists()
    pickle.loads(pickle.dumps(Payload(mark)))
    assert mark.exists()  # the payload is a live one


def test_a_picture_that_is_a_program_is_refused_unopened(tmp_path: Path) -> None:
    program = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(" + str(tmp_path).encode()
    (tmp_path / "a.png").write_bytes(program + b"/mark) (w) file closefile\nshowpage\n")
    with pytest.raises(VNPError, match="no picture in a format that can be read"):
        read_rgba(tmp_path / "a.png")
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("text", ["__import__('os').mkdir('mark')", "$(mkdir mark)", "`id`"])
def test_text_that_some_programs_would_run_is_text(text: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table.csv").write_text(f'x,y,task\n1,2,"{text}"\n')
    assert read_csv_functions(tmp_path / "table.csv", ["x"], ["y"], "task").labels == (text,)
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]
