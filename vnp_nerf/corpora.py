"""Collections of scenes with the pairs of views by which they are scored."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vnp_core.errors import ConfigError
from vnp_nerf.evaluation import Case, cases_of
from vnp_nerf.pairs import Pairs, make_pairs, read_pairs
from vnp_nerf.readers import Collection, ReadOptions, open_collection


@dataclass
class Corpus:
    """A corpus with its pairs, and those of the wanted splits that it has."""

    collection: Collection
    pairs: Pairs
    splits: tuple[str, ...]
    views: tuple[int, ...]
    """Numbers of context views."""

    def cases(self, split: str, limit: int | None, read: ReadOptions) -> Iterator[Case]:
        """The first objects of a split: see `cases_of`."""
        return cases_of(self.collection, self.pairs, split, limit, read)

    def place(self, what: str, split: str) -> tuple[str, ...]:
        """What notes of scores are kept under, before the contestant, the object and the number of views."""
        return (what, self.pairs.corpus, str(self.collection.root), split)


def open_corpus(
    name: str, folder: Path, folder_of_pairs: Path, wanted: Sequence[str], views: tuple[int, ...]
) -> Corpus:
    """A corpus whose pairs are stored. Raises `ConfigError` if it has none of the splits."""
    pairs = read_pairs(folder_of_pairs / f"{name}.json")
    splits = tuple(split for split in wanted if split in pairs.scenes)
    if not splits:
        raise ConfigError(f"the pairs of {name} have splits {list(pairs.scenes)}, and none of {list(wanted)}")
    return Corpus(open_collection(folder), pairs, splits, views)


@dataclass(frozen=True)
class Validation:
    """Corpora of one collection, and the objects of its split `val` that factors on sigma are fitted to, at
    all numbers of views together.
    """

    corpora: list[Corpus]
    views: tuple[int, ...]
    cases: list[Case]


def validations(corpora: Sequence[Corpus], objects: int, read: ReadOptions) -> list[Validation]:
    """One a collection, of so many objects. Raises what reading scenes raises, `SceneNotFoundError` where
    there is no `val`.
    """
    found: list[Validation] = []
    for root in dict.fromkeys(corpus.collection.root for corpus in corpora):
        alike = [corpus for corpus in corpora if corpus.collection.root == root]
        views = tuple(sorted({count for corpus in alike for count in corpus.views}))
        collection, limit = alike[0].collection, objects
        pairs = make_pairs(collection, "val", "", ["val"], contexts=max(views), queries=1, limit=limit)
        found.append(Validation(alike, views, list(cases_of(collection, pairs, "val", read=read))))
    return found
