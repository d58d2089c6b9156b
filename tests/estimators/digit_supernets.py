"""Records of supernets of small networks on the digits, and where their images come from."""

from __future__ import annotations

from typing import Any

from nas.data.dataset import Dataset
from nas.space import SearchSpace
from nas.supernet.record import SupernetRecord, space_digest

#: images that train weights: one batch of the recalibration, so that their order does not matter
TRAIN = 128
SMALL: dict[str, Any] = {"num_classes": 10, "in_channels": 1, "resolution": 8, "channels": 4, "cells": 1}


def load(size: int) -> Dataset:
    return Dataset.load("digits", image_size=size, images=2 * TRAIN)


def record_of(space: SearchSpace, size: int, network: dict[str, Any], **fields: Any) -> SupernetRecord:
    return SupernetRecord(
        method="spos", space=space.name, space_digest=space_digest(space), network=network, data="digits",
        data_digest=load(size).data.digest, image_size=size, images=2 * TRAIN, architecture_share=0.5, **fields,
    )  # fmt: skip
