"""On a disk that takes no more, every writer ends with a clear error, and what was there is still whole."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from vnp_core.checkpoints import load_weights, save_weights
from vnp_core.errors import StorageError, exit_on_error
from vnp_core.results import Results, Row, Stopwatch, read_results, write_results
from vnp_nerf.baked_field import BakedGrid
from vnp_nerf.baked_file import BakedCard, open_baked, save_baked
from vnp_nerf.exporting.new_files import write_new
from vnp_nerf.frames import Similarity
from vnp_nerf.making.cameras import Orbit
from vnp_nerf.making.shapes import ShapeSource, load_shape
from vnp_nerf.making.writer import WriterConfig, write_category
from vnp_nerf.readers import open_collection, open_scene

pytestmark = pytest.mark.fault("a full disk")

SmallDisk = Callable[[int], Path]


def results(rows: int) -> Results:
    return Stopwatch("b", seed=0).results([Row("m", "t", "s", "", "psnr", 1.0, None, 1)] * rows)


def files(folder: Path) -> set[str]:
    """Names of all files, those left half-written too."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_results_stay_as_they_were(small_disk: SmallDisk) -> None:
    path = small_disk(64) / "results.json"
    write_results(path, results(1))
    with pytest.raises(StorageError, match=r"results\.json cannot be written \(No space left on device\)"):
        write_results(path, results(5000))
    assert len(read_results(path).rows) == 1
    assert files(path.parent) == {"results.json"}


def test_weights_stay_as_they_were(small_disk: SmallDisk) -> None:
    path = small_disk(64) / "weights"
    save_weights(path, {"w": torch.zeros(100)}, {"a": 1})
    with pytest.raises(StorageError, match="make room on the disk"):
        save_weights(path, {"w": torch.zeros(100_000)}, {"a": 1})
    assert load_weights(path).state_dict["w"].shape == (100,)
    assert files(path.parent) == {"weights.json", "weights.safetensors"}


def test_a_baked_field_is_written_whole_or_not_at_all(small_disk: SmallDisk) -> None:
    folder = small_disk(64)
    filled = torch.zeros(64, 64, 64, dtype=torch.bool)
    filled[0, 0, :3] = True
    grid = BakedGrid(1.05, filled, torch.ones(3, dtype=torch.float16), torch.zeros(3, 3, dtype=torch.uint8))
    card = BakedCard("ball", None, "0" * 64, Similarity.identity())
    save_baked(folder / "a.safetensors", grid, card)
    with pytest.raises(StorageError):
        save_baked(folder / "b.safetensors", grid, card)
    assert open_baked(folder / "a.safetensors")[1].source == card.source
    assert files(folder) == {"a.safetensors"}


def test_of_exports_that_belong_together_none_is_left(small_disk: SmallDisk) -> None:
    folder = small_disk(64)
    with pytest.raises(StorageError):
        write_new({folder / "a.ply": bytes(1000), folder / "b.ply": bytes(200_000)})
    assert files(folder) == set()


@pytest.mark.parametrize("processes", [1, 2])
def test_finished_scenes_are_kept_and_making_goes_on_with_more_room(
    small_disk: SmallDisk, tmp_path: Path, processes: int
) -> None:
    names = [f"chair-{number}" for number in range(8)]
    sources = {name: ShapeSource("chairs", 0, number) for number, name in enumerate(names)}
    config = WriterConfig(orbit=Orbit(views=4), size=64)

    def make(root: Path) -> None:
        splits = {"train": names[:6], "test": names[6:]}
        write_category(root, "chairs", splits, sources, load_shape, config, processes=processes)

    root = small_disk(150)
    with pytest.raises(StorageError, match="No space left on device.*make room"):
        make(root)
    scenes = sorted((root / "chairs").glob("chair-*"))
    assert 0 < len(scenes) < 8
    for path in scenes:
        scene = open_scene(path)
        assert all(scene.picture(view).shape == (64, 64, 4) for view in range(4))
    assert not list((root / "chairs").glob(".*"))
    assert not (root / "chair_splits.json").exists()
    roomy = Path(shutil.copytree(root, tmp_path / "roomy"))
    make(roomy)
    assert len(open_collection(roomy).split("train")) == 6


def fill(folder: Path) -> None:
    """What a program does that writes through code which is not ours."""
    with exit_on_error():
        (folder / "log").write_bytes(bytes(200_000))


def test_a_program_ends_with_the_code_of_a_full_disk_whoever_met_it(small_disk: SmallDisk, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        fill(small_disk(64))
    assert ended.value.code == StorageError.exit_code
    assert "StorageError: [Errno 28] No space left on device: make room" in capsys.readouterr().err


def test_other_errors_of_the_system_are_no_full_disk(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), exit_on_error():
        (tmp_path / "none" / "log").write_bytes(b"")
