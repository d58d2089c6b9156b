"""Block look-up tables in the form of ProxylessNAS (Cai et al., 2019): one row a block, keyed by its shapes.

`expanded_conv-input:56x56x24-output:28x28x40-expand:3-kernel:5-stride:2-idskip:0` is an inverted residual; `Conv` the
stem, `Conv_1` the last pointwise convolution, `Logits` pool and classifier. The authors' files are YAML, a mapping from
keys to `mean` and, where known, `var` and `count`; a CSV file has the columns key, mean, var, count.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from nas.errors import NasError
from nas.hardware.predictors.lookup import LookupParameters, LookupPredictor, MeasuredBlock, kernels
from nas.hardware.tables.records import read_records, read_text
from nas.plain_yaml import load_yaml
from nas.space import Block
from nas.space.block import DenseBlock, PoolBlock
from nas.space.mbconv_blocks import ConvBlock, InvertedResidualBlock

#: half of a 90 % interval of a normal distribution, in standard deviations
NORMAL_90 = 1.645

_SHAPE = r"(\d+)x(\d+)x(\d+)"
_ENDS = re.compile(rf"(Conv|Conv_1|Logits)-input:{_SHAPE}-output:(?:(\d+)x(\d+)x)?(\d+)")
_MBCONV = re.compile(
    rf"expanded_conv-input:{_SHAPE}-output:{_SHAPE}-expand:(\d+)-kernel:(\d+)-stride:(\d+)-idskip:([01])"
)


def is_block_table(text: str) -> bool:
    """Whether a file holds such a table."""
    return _MBCONV.search(text) is not None


def read_block_table(path: Path, milliseconds: float = 1.0) -> LookupPredictor:
    """Return the look-up table in a file.

    Args:
        milliseconds: what one unit of its means is; variances are in the square of it.

    Raises:
        NasError: it cannot be read, a key is no block that is known, or a time cannot be measured; names the row.
    """
    text = read_text(path)
    rows = _from_csv(path) if text.lstrip().lower().startswith("key") else _from_yaml(text, path)
    blocks: dict[str, MeasuredBlock] = {}
    for where, key, values in rows:
        mean, var = _value(values, "mean", where), _value(values, "var", where, 0.0)
        if mean <= 0:
            raise NasError(f"{where}: mean of {key} is {mean:g}, must be above 0")
        main, *included = _blocks_of(key, where)
        measured = MeasuredBlock(
            kernels=kernels(main),
            mean=round(mean * milliseconds, 6),
            std=round(math.sqrt(var) * milliseconds, 6),
            count=max(1, int(_value(values, "count", where, 1.0))),
        )
        for row in (measured, *(_included(block, measured) for block in included)):
            if row.kernels in blocks:
                raise NasError(f"{where}: the block {key} is there twice")
            blocks[row.kernels] = row
    if not blocks:
        raise NasError(f"{path} holds no block")
    covers = f"those of {path.name}"
    return LookupPredictor(LookupParameters(covers=covers, interval_width=NORMAL_90, blocks=tuple(blocks.values())))


def _included(block: Block, measured: MeasuredBlock) -> MeasuredBlock:
    """A block whose time is part of another's, charged there."""
    return measured.model_copy(update={"kernels": kernels(block), "mean": 0.0, "std": 0.0})


def _from_csv(path: Path) -> list[tuple[str, str, Mapping[str, Any]]]:
    records = read_records(path)
    for column in ("key", "mean"):
        if column not in records[0].cells:
            raise NasError(f"{path} has no column {column!r}")
    return [(record.where, record.cells["key"], record.cells) for record in records]


def _from_yaml(text: str, path: Path) -> list[tuple[str, str, Mapping[str, Any]]]:
    try:
        content = load_yaml(text)
    except yaml.YAMLError as error:
        raise NasError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise NasError(f"{path} must map keys of blocks to their times")
    return [
        (f"{path} {key}", str(key), value if isinstance(value, dict) else {"mean": value})
        for key, value in content.items()
    ]


def _value(values: Mapping[str, Any], name: str, where: str, default: float | None = None) -> float:
    given = values.get(name)
    if given in (None, "") and default is not None:
        return default
    try:
        number = float(given)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(given, bool) or not math.isfinite(number) or number < 0:
        raise NasError(f"{where}: {name} is {given!r}, expected a number that is not negative")
    return number


def _blocks_of(key: str, where: str) -> list[Block]:
    """The block of a key, and behind it those whose time it includes."""
    ends, mbconv = _ENDS.fullmatch(key), _MBCONV.fullmatch(key)
    if mbconv is None and ends is None:
        raise NasError(
            f"{where}: {key!r} is no block of ProxylessNAS; they are Conv, Conv_1, Logits and expanded_conv, as in "
            "expanded_conv-input:56x56x24-output:28x28x40-expand:3-kernel:5-stride:2-idskip:0"
        )
    numbers = [int(number) for number in (mbconv or ends).groups()[0 if mbconv else 1 :] if number]  # type: ignore[union-attr]
    height, width, channels = numbers[:3]
    if height != width:
        raise NasError(f"{where}: {key} is not square, {height} × {width}; only square feature maps are known")
    if mbconv:
        return [_inverted_residual(key, numbers, where)]
    assert ends is not None
    if ends[1] == "Logits":
        return [DenseBlock(channels, numbers[-1], 1), PoolBlock(channels, channels, height)]
    kernel, stride = (3, 2) if ends[1] == "Conv" else (1, 1)
    block = ConvBlock(channels, numbers[-1], height, kernel=kernel, stride=stride, activation="relu6")
    return [_checked(block, key, numbers[3:5], where)]


def _inverted_residual(key: str, numbers: list[int], where: str) -> Block:
    size, _, channels, out_height, out_width, out, expand, kernel, stride, idskip = numbers
    block = InvertedResidualBlock(
        channels, out, size, mid_channels=channels * expand, kernel=kernel, stride=stride, activation="relu6"
    )
    if block.residual != bool(idskip):
        raise NasError(f"{where}: idskip of {key} does not follow from its shapes")
    return _checked(block, key, [out_height, out_width], where)


def _checked(block: Block, key: str, output: list[int], where: str) -> Block:
    if output and output != [block.out_size, block.out_size]:
        raise NasError(f"{where}: the output of {key} should be {block.out_size} × {block.out_size}")
    return block
