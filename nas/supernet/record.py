"""What has to be known of a supernet to make it again and to judge networks with its weights."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field

from nas import registry
from nas.errors import NasError
from nas.plain_yaml import read_record
from nas.space import SearchSpace
from nas.space.space_file import space_from

if TYPE_CHECKING:
    from nas.data.dataset import Dataset
    from nas.supernet.cell_edge import CandidateOptions

#: the folder of a supernet in a run directory, and the file of its record there
FOLDER = "supernet"
RECORD = "supernet.yaml"
#: where runs are that are given by name
RUNS = Path("runs")


class SupernetRecord(BaseModel):
    """supernet.yaml of a run.

    Args:
        method: the one-shot strategy that trains it.
        space: its name.
        space_declaration: the content of the space file, where the space is from one.
        space_digest: see `space_digest`.
        network: fields of the networks that are other than in the space; see `nas.supernet.factory.make_supernet`.
        affine, partial, pool_norm: see `CandidateOptions`.
        data: the images, an absolute path or "digits".
        data_digest: of `ImageData`.
        image_size: side that images are brought to; None for their own.
        images: how many train, weights and architecture together; None for all.
        architecture_share: share of those that train the architecture.
        seed: of the division of the images.
        validation_images: how many judge a network; None for all of the validation.
        recalibration_images: of the training, to set the statistics of batch normalisation of a network that is judged.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    method: str
    space: str
    space_declaration: dict[str, Any] | None = None
    space_digest: str
    network: dict[str, bool | int | float] = Field(default_factory=dict)
    affine: bool = True
    partial: int = Field(default=1, ge=1)
    pool_norm: bool = False
    data: str
    data_digest: str
    image_size: int | None = Field(default=None, ge=1)
    images: int | None = Field(default=None, ge=2)
    architecture_share: float = Field(default=0.0, ge=0, lt=1)
    seed: int = Field(default=0, ge=0)
    validation_images: int | None = Field(default=None, ge=1)
    recalibration_images: int = Field(default=1024, ge=2)

    @property
    def options(self) -> CandidateOptions:
        """How candidate operations of cells differ from those of the networks."""
        from nas.supernet.cell_edge import CandidateOptions

        return CandidateOptions(affine=self.affine, partial=self.partial, pool_norm=self.pool_norm)

    def make_space(self) -> SearchSpace:
        """Return the space.

        Raises:
            NasError: it is not installed, or is another one now.
        """
        if self.space_declaration is not None:
            space: SearchSpace = space_from(self.space_declaration, f"declaration of the space {self.space}")
        else:
            space = registry.load("spaces", self.space)
        self.check_space(space)
        return space

    def check_space(self, space: SearchSpace) -> None:
        """Refuse a space whose codes are not those of the supernet.

        Raises:
            NasError: it is another one.
        """
        if space.name != self.space:
            raise NasError(f"the supernet is of {self.space}, not of {space.name}; search --space {self.space} with it")
        if space_digest(space) != self.space_digest:
            raise NasError(
                f"the space {self.space} is another one than when the supernet was made; train a new supernet, or "
                "install the version it was made with"
            )

    def judging_digest(self) -> str:
        """SHA-256 of all that an accuracy with shared weights depends on, besides these weights and the pixels."""
        settings = self.model_dump(exclude={"method", "data"})
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()

    def load_data(self, data: str | Path | None = None) -> Dataset:
        """Return the images, divided as for the training.

        Args:
            data: where they are now; None for where they were.

        Raises:
            NasError: they are not there, or are others.
        """
        from nas.data.dataset import Dataset

        source = self.data if data is None else str(data)
        try:
            dataset = Dataset.load(
                source, seed=self.seed, image_size=self.image_size, images=self.images,
                architecture=self.architecture_share,
            )  # fmt: skip
        except NasError as error:
            if data is not None:
                raise
            raise NasError(f"{error}; the supernet needs these images: if they moved, say where by --data") from None
        if dataset.data.digest != self.data_digest:
            now = " now" if data is None else ""
            raise NasError(
                f"the images of {source} are{now} others than those the supernet was trained on ({self.data}); give "
                "the same images by --data, or train a new supernet"
            )
        return dataset


def space_digest(space: SearchSpace) -> str:
    """SHA-256 of the decisions and of the networks that the first and the last choice of each give."""
    ends = np.array([[0] * len(space.decisions), [len(d.choices) - 1 for d in space.decisions]], dtype=np.int8)
    networks = [space.spec(code) for code in space.canonical(ends)]
    return hashlib.sha256(repr((space.decisions, networks)).encode()).hexdigest()


def read_supernet_record(folder: Path) -> SupernetRecord:
    """Return the record in the folder of a supernet.

    Raises:
        NasError: it cannot be read, or is damaged.
    """
    return read_record(SupernetRecord, folder / RECORD, "record of a supernet")


def write_supernet_record(folder: Path, record: SupernetRecord) -> None:
    """Write the record into the folder of a supernet, which is made where it is missing; whole or not at all.

    Raises:
        NasError: it cannot be written.
    """
    path = folder / RECORD
    part = path.with_name(f".{RECORD}.{os.getpid()}.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part.write_text(yaml.safe_dump(record.model_dump(), sort_keys=False, allow_unicode=True), encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise NasError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)


def find_supernet(run: str | Path) -> Path:
    """Return the folder of the supernet of a run: of its directory, its name under runs/, or that folder itself.

    Raises:
        NasError: there is no such run, or it has none.
    """
    places = [folder for folder in (Path(run), RUNS / run) if folder.is_dir()]
    for folder in places:
        for found in (folder / FOLDER, folder):
            if (found / RECORD).is_file():
                return found
    known = sorted(path.parent.parent.name for path in RUNS.glob(f"*/{FOLDER}/{RECORD}"))
    runs = f"; runs that have one: {', '.join(known[-5:])}" if known else ""
    what = "has no supernet, it is not the run of a one-shot strategy" if places else "is not a run directory"
    raise NasError(f"{run} {what}{runs}")
