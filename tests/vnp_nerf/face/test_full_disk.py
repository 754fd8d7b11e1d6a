"""Training, and making a run of a new scene, on a disk that takes no more."""

from collections.abc import Callable
from pathlib import Path

import pytest

from vnp_core.errors import CheckpointError, StorageError
from vnp_nerf.face.checkpoints import read_checkpoint, read_latest_checkpoint
from vnp_nerf.infer import Infer, infer

pytestmark = pytest.mark.fault("a full disk")


def test_a_training_whose_disk_is_full_says_so_and_its_last_checkpoint_is_whole(
    collection: Path,
    trained: Path,
    small_disk: Callable[[int], Path],
    make_config,
    run_training,
    capsys,
) -> None:
    checkpoint = next((trained.parent / "nerfstudio_models").glob("*.ckpt"))
    config = make_config(collection, small_disk(2 * checkpoint.stat().st_size // 1024 + 60), steps=60)
    config.steps_per_save = 3
    with pytest.raises(SystemExit) as ended:
        run_training(config)
    assert ended.value.code == CheckpointError.exit_code
    said = capsys.readouterr().err
    assert "could not be written" in said
    assert "make room on the disk; earlier checkpoints are intact" in said
    folder = config.get_checkpoint_dir()
    kept = sorted(folder.iterdir())
    steps = [read_checkpoint(path)["step"] for path in kept]
    assert 1 <= len(kept) <= 2
    assert [path.name for path in kept] == [f"step-{step:09d}.ckpt" for step in steps]
    assert read_latest_checkpoint(folder)[0] == kept[-1]
    assert "WARNING" not in capsys.readouterr().err
    assert not list(config.get_base_dir().glob(".*.part"))


@pytest.mark.parametrize("kibibytes", [4, 24])
def test_a_run_that_finds_no_room_is_not_there_at_all(
    collection: Path, trained: Path, small_disk: Callable[[int], Path], kibibytes: int
) -> None:
    folder = small_disk(kibibytes)
    options = Infer(
        collection, scene="test/f", load_config=trained, context=(0,), output_dir=folder / "run", copy=True
    )
    with pytest.raises((CheckpointError, StorageError), match="make room on the disk"):
        infer(options)
    assert list(folder.iterdir()) == []
