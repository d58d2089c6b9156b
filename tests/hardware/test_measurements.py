"""Tables of measurements: what is in them is what is read, and every mistake is named with its row."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import nas
from nas.cost import cost_model
from nas.errors import NasError
from nas.hardware.predictors.lookup import kernels
from nas.hardware.tables.measurements import Measurements, read_measurements, write_measurements
from nas.space import Codes, SearchSpace

Write = Callable[..., Path]
Rows = list[list[object]]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a CSV file: a header in words, then rows."""

    def write(header: str, rows: Sequence[Sequence[object]], name: str = "table.csv") -> Path:
        with (tmp_path / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(header.split())
            writer.writerows(rows)
        return tmp_path / name

    return write


@pytest.fixture(scope="module")
def codes() -> Codes:
    return nas.space("mbconv").sample(12, np.random.default_rng(3))


@pytest.fixture(scope="module")
def latencies(codes: Codes) -> np.ndarray:
    """A device of 10 G multiply-adds a second that takes 1 ms to start; milliseconds."""
    return np.round(1 + cost_model(nas.space("mbconv")).params_and_macs(codes)[:, 1] / 1e7, 3)


@pytest.fixture
def rows(mbconv: SearchSpace, codes: Codes, latencies: np.ndarray) -> Rows:
    return [[code, value] for code, value in zip(mbconv.format(codes), latencies, strict=True)]


def refused(expected: str, *arguments: object, **words: object) -> str:
    with pytest.raises(NasError) as caught:
        read_measurements(*arguments, **words)  # type: ignore[arg-type]
    message = str(caught.value)
    assert expected in message
    return message


# --- what is read -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "factor"),
    [
        ("latency_ms", 1.0), ("latency_s", 1e-3), ("latency_us", 1e3), ("latency_ns", 1e6), ("Latency_MS", 1.0),
        ("latency(us)", 1e3), ("latency_cpu_ms", 1.0), ("mean_latency_ms", 1.0),
    ],
)  # fmt: skip
def test_units_in_the_name_of_a_column(
    write: Write, mbconv: SearchSpace, rows: Rows, codes: Codes, latencies: np.ndarray, column: str, factor: float
) -> None:
    path = write(f"code {column}", [[code, value * factor] for code, value in rows])  # type: ignore[operator]
    table = read_measurements(path, mbconv)
    assert table.metrics == ("latency_ms",)
    np.testing.assert_allclose(table.values["latency_ms"], latencies)
    np.testing.assert_array_equal(table.codes, codes)
    np.testing.assert_array_equal(table.macs, cost_model(mbconv).params_and_macs(codes)[:, 1])


def test_decisions_as_columns(write: Write, mbconv: SearchSpace, codes: Codes, latencies: np.ndarray) -> None:
    names = [decision.name for decision in mbconv.decisions]
    chosen = [mbconv.decode(code).decisions for code in codes]
    # Spreadsheets write 3 as 3.0.
    cells = [[f"{float(each[name]):.1f}" for name in names] for each in chosen]
    path = write(f"{' '.join(names)} latency_ms", [[*row, ms] for row, ms in zip(cells, latencies, strict=True)])
    np.testing.assert_array_equal(read_measurements(path, mbconv).codes, codes)
    short = write(f"{' '.join(names[:-1])} latency_ms", [[*row[:-1], 5.0] for row in cells])
    refused(f"no column '{names[-1]}', a decision of mbconv", short, mbconv)


def test_choices_that_look_like_numbers(write: Write) -> None:
    """In `darts` a node may read "01", both of its predecessors, or "1"."""
    space = nas.space("darts")
    chosen = [dict(space.decode(code).decisions) for code in space.sample(40, np.random.default_rng(0))]
    names = [decision.name for decision in space.decisions]
    assert {each["normal.node2.inputs"] for each in chosen} >= {"01", "1"}
    cells = [[each.get(name, "") for name in names] for each in chosen]
    table = read_measurements(write(f"{' '.join(names)} latency_ms", [[*row, 9] for row in cells]), space)
    np.testing.assert_array_equal(table.codes, [space.encode(each) for each in chosen])


def test_the_plain_name_of_a_column_goes_first(write: Write, mbconv: SearchSpace, rows: Rows) -> None:
    path = write("code latency_ms latency_p90_ms", [[code, ms, 99] for code, ms in rows])
    np.testing.assert_allclose(read_measurements(path, mbconv).values["latency_ms"], [ms for _, ms in rows])


def test_cells_of_nasbench201(write: Write) -> None:
    space = nas.space("nasbench201")
    cell = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
    table = read_measurements(write("idx arch_str latency_ms energy_mj", [[0, cell, 10.75, 3.5]]), space)
    np.testing.assert_array_equal(table.codes, [space.encode(cell)])
    assert {metric: values.tolist() for metric, values in table.values.items()} == {
        "latency_ms": [10.75], "energy_mj": [3.5],
    }  # fmt: skip


def test_published_networks_and_their_resolution(write: Write) -> None:
    rows = [["efficientnet_b0", "", 40], ["EfficientNet-Lite0", 192, 30], ["mobilenetv2", 96, 3.5]]
    table = read_measurements(write("network resolution latency_ms", rows))
    assert table.items == ("efficientnet_b0", "efficientnet_lite0@192", "mobilenetv2@96")
    assert [table.network(row).resolution for row in range(3)] == [224, 192, 96]
    assert table.macs[0] == nas.network("efficientnet_b0").cost()["macs"]


def test_published_networks_in_a_space(write: Write, mbconv: SearchSpace) -> None:
    table = read_measurements(write("network latency_ms", [["efficientnet_b0", 40]]), mbconv)
    np.testing.assert_array_equal(table.codes, [mbconv.encode(nas.network("efficientnet_b0"))])
    refused("not in mbconv", write("network latency_ms", [["resnet50", 40]]), mbconv)


def test_json_records(tmp_path: Path, mbconv: SearchSpace, rows: Rows, latencies: np.ndarray) -> None:
    path = tmp_path / "table.json"
    path.write_text(json.dumps([{"code": code, "latency_ms": value} for code, value in rows]))
    np.testing.assert_allclose(read_measurements(path, mbconv).values["latency_ms"], latencies)


def test_equal_rows_are_averaged_and_counted(write: Write, mbconv: SearchSpace, rows: Rows) -> None:
    first, *others = rows
    table = read_measurements(write("code latency_ms", [[first[0], 50.0], [first[0], 58.0], *others]), mbconv)
    assert len(table) == len(rows)
    assert table.values["latency_ms"][0] == 54.0
    assert table.std["latency_ms"][0] == pytest.approx(np.std([50, 58], ddof=1))
    assert table.runs[:2].tolist() == [2, 1]


def test_rounds_of_profile_measure(write: Write, mbconv: SearchSpace, codes: Codes) -> None:
    """Medians over rounds, in which one may have been disturbed; calibration rows and blocks are apart."""
    code = mbconv.format(codes)[0]
    block = kernels(mbconv.vocabulary.blocks[0])
    header = "kind space item latency_ms latency_ms_std runs round started"
    measured = [
        ["network", "mbconv", code, ms, 0.3, 20, i, "2026-01-01T00:00:00Z"] for i, ms in enumerate((40, 90, 42))
    ]
    others = [["calibration", "mbconv", code, 77, 1, 20, 0, ""], ["block", "mbconv", block, 0.5, 0.1, 30, 0, ""]]
    path = write(header, [*measured, *others])
    table = read_measurements(path)
    assert table.space is mbconv
    assert (table.items, table.values["latency_ms"].tolist(), table.runs.tolist()) == ((code,), [42.0], [60])
    assert table.std["latency_ms"] == pytest.approx([0.3])
    blocks = read_measurements(path, kind="block")
    assert (blocks.items, blocks.values["latency_ms"].tolist()) == ((block,), [0.5])
    wrong = write(header, [["block", "mbconv", "conv k9 s1 3>3 @1", 1, 1, 1, 0, ""]])
    refused("line 2: item is 'conv k9 s1 3>3 @1', no block of mbconv", wrong, kind="block")
    refused("has no network among its 1 rows, only blocks", wrong)


def test_empty_cells_are_what_was_not_measured(write: Write, mbconv: SearchSpace, rows: Rows) -> None:
    path = write("code latency_ms", [*rows[:4], [rows[5][0], ""]])
    table = read_measurements(path, mbconv)
    assert (len(table), table.empty) == (4, 1)
    with pytest.raises(NasError, match=r"4 measured networks \(1 more rows are empty\); a fit needs 5"):
        table.require(5)
    assert table.require(4) is table


def test_a_written_table_reads_the_same(write: Write, tmp_path: Path, mbconv: SearchSpace, rows: Rows) -> None:
    given = [[code, ms, 0.5 if i else "", 7 * ms, 9] for i, (code, ms) in enumerate(rows)]  # type: ignore[operator]
    table = read_measurements(write("code latency_ms latency_ms_std energy_mj runs", given), mbconv)
    write_measurements(tmp_path / "again.csv", [table])
    again = read_measurements(tmp_path / "again.csv")
    assert (again.items, again.metrics) == (table.items, table.metrics)
    for metric in table.metrics:
        np.testing.assert_allclose(again.values[metric], table.values[metric])
        np.testing.assert_allclose(again.std[metric], table.std[metric])
    assert again.runs.tolist() == [9] * len(rows)


def test_of_one_metric(write: Write, mbconv: SearchSpace, rows: Rows) -> None:
    given = [[code, ms, 5.0 if i < 3 else ""] for i, (code, ms) in enumerate(rows)]
    table = read_measurements(write("code latency_ms energy_mj", given), mbconv)
    assert (len(table.of("latency_ms")), len(table.of("energy_mj"))) == (12, 3)
    with pytest.raises(NasError, match="has no enery_mj; did you mean 'energy_mj'"):
        table.of("enery_mj")


# --- units mixed up ---------------------------------------------------------------------------------------------------


def test_seconds_in_a_column_of_milliseconds(write: Write, mbconv: SearchSpace, rows: Rows) -> None:
    path = write("code latency_ms", [[code, ms / 1e3] for code, ms in rows])  # type: ignore[operator]
    assert "latency_s" in refused("too much to be true", path, mbconv)
    assert len(read_measurements(path, mbconv, unit="ms")) == len(rows)
    nanoseconds = write("code latency_ms", [[code, ms * 1e6] for code, ms in rows])  # type: ignore[operator]
    refused("too little to be true", nanoseconds, mbconv)


@pytest.mark.parametrize("factor", [1e-3, 1e3])
@pytest.mark.parametrize("wrong", [1, 5])
def test_rows_in_another_unit(write: Write, mbconv: SearchSpace, rows: Rows, wrong: int, factor: float) -> None:
    mixed = [[code, ms * (factor if i < wrong else 1)] for i, (code, ms) in enumerate(rows)]  # type: ignore[operator]
    message = refused("in another unit", write("code latency_ms", mixed), mbconv)
    assert [f"line {line}" in message for line in (2, 2 + wrong)] == [True, False]


@pytest.mark.parametrize(("count", "wrong"), [(12, 6), (2, 1)])
def test_half_of_the_rows_in_another_unit(
    write: Write, mbconv: SearchSpace, rows: Rows, count: int, wrong: int
) -> None:  # fmt: skip
    mixed = [[code, ms * (1e3 if i < wrong else 1)] for i, (code, ms) in enumerate(rows[:count])]  # type: ignore[operator]
    refused("in another unit", write("code latency_ms", mixed), mbconv)


def test_the_unit_must_be_said_once(write: Write, mbconv: SearchSpace, rows: Rows, latencies: np.ndarray) -> None:
    unnamed = write("code latency", rows)
    refused("'latency' names no unit; call it latency_ms", unnamed, mbconv)
    np.testing.assert_allclose(read_measurements(unnamed, mbconv, unit="ms").values["latency_ms"], latencies)
    refused("unknown unit 'mss'; did you mean 'ms'?", unnamed, mbconv, unit="mss")
    refused("is in us by its name, and you say it is in ms", write("code latency_us", rows), mbconv, unit="ms")
    named = read_measurements(write("code phone", rows), mbconv, column="phone", unit="s", metric="latency_ms")
    np.testing.assert_allclose(named.values["latency_ms"], latencies * 1e3)


def test_several_columns_may_be_meant(write: Write, mbconv: SearchSpace, rows: Rows) -> None:
    path = write("code latency_a_ms latency_b_ms", [[code, ms, 2 * ms] for code, ms in rows])  # type: ignore[operator]
    refused("several columns of latency: latency_a_ms, latency_b_ms", path, mbconv)
    table = read_measurements(path, mbconv, column="latency_b_ms")
    assert table.values["latency_ms"][0] == pytest.approx(2 * float(str(rows[0][1])))
    refused("no column 'latency_c_ms'; did you mean", path, mbconv, column="latency_c_ms")


def test_networks_that_compute_nothing_may_take_no_time(tmp_path: Path, data_dir: Path) -> None:
    """HW-NAS-Bench measured cells that lead nowhere at a thousandth of the others; they are no mixed units."""
    space = nas.space("nasbench201")
    frame = pd.read_csv(data_dir / "nasbench201" / "hwnasbench_cifar10.csv.gz")
    fastest = frame.sort_values("raspi4_latency")[:200]
    assert fastest["raspi4_latency"].max() < frame["raspi4_latency"].median() / 50
    some = pd.concat([fastest, frame[::20]]).drop_duplicates()
    some.to_csv(tmp_path / "raspi4.csv", index=False)
    table = read_measurements(tmp_path / "raspi4.csv", space, column="raspi4_latency", unit="ms")
    np.testing.assert_allclose(table.values["latency_ms"], some["raspi4_latency"])
    np.testing.assert_array_equal(table.codes[:5], [space.encode(cell) for cell in some["arch_str"][:5]])


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("-3", "line 4: latency_ms is -3, must be above 0"), ("0", "line 4: latency_ms is 0, must be above 0"),
        ("nan", "line 4: latency_ms is nan, expected a finite number"),
        ("inf", "line 4: latency_ms is inf, expected a finite number"),
        ("fast", "line 4: latency_ms is 'fast', expected a number"), ("12 ms", "line 4: latency_ms is '12 ms'"),
    ],
)  # fmt: skip
def test_impossible_values(write: Write, mbconv: SearchSpace, rows: Rows, value: str, expected: str) -> None:
    refused(expected, write("code latency_ms", [*rows[:2], [rows[2][0], value]]), mbconv)


def test_impossible_spreads_and_runs(write: Write, mbconv: SearchSpace, rows: Rows) -> None:
    header = "code latency_ms latency_ms_std runs"
    refused("line 2: latency_ms_std is -1", write(header, [[*rows[0], -1, 3]]), mbconv)
    refused("line 2: runs is '2.5', expected a whole number", write(header, [[*rows[0], 1, 2.5]]), mbconv)


def test_rows_that_disagree(write: Write, mbconv: SearchSpace, rows: Rows) -> None:
    path = write("code latency_ms", [*rows, [rows[3][0], 1.21 * float(str(rows[3][1]))]])
    message = refused("more than 20 % apart", path, mbconv)
    assert "line 5" in message
    assert "line 14" in message


def test_codes_outside_the_space(write: Write, mbconv: SearchSpace, rows: Rows) -> None:
    code = "9" + str(rows[0][0])[1:]
    refused(
        "line 3: stage1.expand is '9', must be one of 1, 4, 6", write("code latency_ms", [rows[0], [code, 5]]), mbconv
    )
    refused("line 2: code is empty", write("code latency_ms", [["", 5]]), mbconv)
    refused("unknown network 'efficientnet_b00'; did you mean", write("network latency_ms", [["efficientnet_b00", 5]]))
    refused("a code needs its --space", write("code latency_ms", rows))


def test_missing_columns(write: Write, mbconv: SearchSpace, rows: Rows) -> None:
    refused("did you mean 'codes'?", write("codes latency_ms", rows), mbconv)
    refused("did you mean 'latncy_ms'?", write("code latncy_ms", rows), mbconv)
    refused("unknown metric 'latency_msec'; did you mean 'latency_ms'?", write("code latency_ms", rows), mbconv,
            metric="latency_msec")  # fmt: skip


def test_spaces(write: Write, mbconv: SearchSpace, rows: Rows) -> None:
    two = write("space code latency_ms", [["mbconv", *rows[0]], ["nasbench201", *rows[1]]])
    refused("line 3 is of the space 'nasbench201', the rows before are of 'mbconv'", two)
    one = write("space code latency_ms", [["mbconv", *rows[0]]])
    refused("holds networks of mbconv, not of nasbench201", one, nas.space("nasbench201"))
    refused("did you mean 'mbconv'?", write("space code latency_ms", [["mbcon", *rows[0]]]))
    refused("kind is 'net'; did you mean 'network'?", write("kind item latency_ms", [["net", *rows[0]]]), mbconv)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"), (b"\n \n", "is empty"), (b"code,latency_ms\n", "has a header and no row"),
        (b"code,code\n1,2\n", "has a column twice"), (b"code,latency_ms\na\n", "line 2 has 1 cells, the header has 2"),
        (b"code,latency_ms\na,b,5\n", "line 2 has 3 cells, the header has 2; text with commas needs quotes"),
        (b"\xff\xfe\x00\x01", "is no text in UTF-8"), (b'[{"code": 1}', "is no JSON"),
        (b'{"code": "a"}', "must be a list of objects"), (b'[{"latency_ms": true}]', "entry 1: latency_ms is true"),
        (b'code,latency_ms\n"a,5\n', "is no CSV file"), (b"\x1f\x8bxxxx", "cannot read"),
        (b"code,latency_ms\n4511-6511-1310-4310-6530-1330-6510,\n", "has no row with a value"),
    ],
)  # fmt: skip
def test_files_that_are_no_tables(tmp_path: Path, mbconv: SearchSpace, content: bytes, expected: str) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    assert str(path) in refused(expected, path, mbconv)


def test_a_missing_file(tmp_path: Path, mbconv: SearchSpace) -> None:
    refused("No such file", tmp_path / "none.csv", mbconv)


def test_several_files_are_one_table(write: Write, mbconv: SearchSpace, rows: Rows, latencies: np.ndarray) -> None:
    first, second = write("code latency_ms", rows[:5], "a.csv"), write("code latency_ms", rows[5:], "b.csv")
    table: Measurements = read_measurements([first, second], mbconv)
    np.testing.assert_allclose(table.values["latency_ms"], latencies)
