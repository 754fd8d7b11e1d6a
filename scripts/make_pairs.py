"""Draws the fixed evaluation pairs of a corpus and stores them in data/pairs/NAME.json.

    python scripts/make_pairs.py furniture outputs/scenes/furniture64 --splits test test_author \
        --make "python scripts/make_scenes.py furniture --output outputs/scenes/furniture64 --depth"
    python scripts/make_pairs.py furniture-unseen outputs/scenes/furniture64 --unseen-side --splits test ...
"""

from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console

from vnp_core.errors import OutputExistsError, exit_on_error, with_exit_codes
from vnp_nerf.making.furniture import read_index
from vnp_nerf.pairs import make_pairs, write_pairs
from vnp_nerf.readers import Collection, open_collection

PAIRS_FOLDER = Path(__file__).resolve().parents[1] / "data" / "pairs"


@dataclass
class MakePairs:
    """Which views of which scenes are context, and which are asked for."""

    corpus: tyro.conf.Positional[str]
    """The corpus' name, which becomes the file's."""
    root: tyro.conf.Positional[Path]
    """Its folder. Where it holds several categories, they are kept with the pairs."""
    make: str
    """The command that made the corpus, for those who want to make it again."""
    splits: tuple[str, ...] = ("test",)
    """The splits that are evaluated."""
    limit: int = 50
    """At most so many objects of each split."""
    contexts: int = 8
    """Context views of each object; the first 1, 2, 3, ... of them are the smaller contexts."""
    queries: int = 3
    """Views of each object that are asked for."""
    unseen_side: bool = False
    """Every query lies over 90 degrees of azimuth from every context view."""
    index: Path | None = None
    """An index of furniture, such as data/furniture_index.json: its categories are kept with the pairs."""
    seed: int = 0
    """Decides every draw."""
    folder: Path = PAIRS_FOLDER
    """Where pairs are kept."""


def categories_of(config: MakePairs, collection: Collection) -> dict[str, str]:
    """By scene: as the index tells, or the folder that the scene lies in where there are several."""
    if config.index is not None:
        return {each.identity: each.category for each in read_index(config.index)}
    paths = [path for split in config.splits for path in collection.split(split)]
    several = len({path.parent for path in paths}) > 1
    return {path.name: path.parent.name for path in paths} if several else {}


def main(config: MakePairs) -> None:
    path = config.folder / f"{config.corpus}.json"
    if path.exists():
        raise OutputExistsError(f"{path} exists, and results refer to it: remove it first to replace it")
    collection = open_collection(config.root)
    pairs = make_pairs(
        collection,
        config.corpus,
        config.make,
        config.splits,
        seed=config.seed,
        contexts=config.contexts,
        queries=config.queries,
        limit=config.limit,
        unseen_side=config.unseen_side,
        categories=categories_of(config, collection),
    )
    write_pairs(path, pairs)
    counts = ", ".join(f"{split}: {len(scenes)} objects" for split, scenes in pairs.scenes.items())
    Console().print(f"{path}: {counts}")


if __name__ == "__main__":
    with exit_on_error():
        main(tyro.cli(MakePairs, description=with_exit_codes(__doc__)))
