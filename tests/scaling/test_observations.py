"""Tables of trained networks: what is read, and that every fault is named with its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nas.errors import NasError
from nas.scaling.laws.sources import laws_of_table
from nas.scaling.observations import ACCURACY, need_rows, read_columns, refuse, top1_of, without_repeats

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def call(text: str) -> Path:
        path = tmp_path / "results.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return call


def test_columns_asked_for_are_numbers_and_rows_are_lines(write: Write) -> None:
    path = write('\ufeffname, macs,top1,note\n"a, b",1e9, 70 ,007\n\n ,2e9,75,\n')
    frame = read_columns(path, required=("macs",), one_of=ACCURACY, optional=("params",))
    assert frame.index.tolist() == [2, 4]
    assert frame["macs"].tolist() == [1e9, 2e9]
    assert frame["name"].tolist() == ["a, b", ""]
    assert frame["note"].tolist() == ["007", ""]
    assert top1_of(frame, path).tolist() == [70.0, 75.0]


@pytest.mark.parametrize("column", ["error", "top1_err"])
def test_errors_become_accuracies(write: Write, column: str) -> None:
    path = write(f"macs,{column}\n1e9,30\n2e9,0.5\n")
    assert top1_of(read_columns(path, one_of=ACCURACY), path).tolist() == [70.0, 99.5]


def test_the_first_column_of_accuracy_counts(write: Write) -> None:
    path = write("error,top1\n1,70\n")
    assert top1_of(read_columns(path, one_of=ACCURACY), path).tolist() == [70.0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mcas,top1\n1e9,70\n", "has no column 'macs'; did you mean 'mcas'"),
        ("macs,topl\n1e9,70\n", "none of the columns top1, accuracy, error, top1_err; did you mean 'topl'"),
        ("macs,top1,macs\n1e9,70,1\n", "the column 'macs' twice"),
        ("macs,top1\n1e9,\n", "line 2: top1 is empty"),
        ("macs,top1\n1e9,70\n2e9,\n3e9,\n", r"line 3: top1 is empty.*\(so are 1 more\)"),
        ("macs,top1\n1e9,7O\n", "line 2: top1 is '7O', expected a finite number"),
        ("macs,top1\n1e9,nan\n", "line 2: top1 is 'nan'"),
        ("macs,top1\n1e9,inf\n", "line 2: top1 is 'inf'"),
        ("macs,top1\n1e9,70\n1e9,70,3\n", "line 3 has 3 cells, the header has 2"),
        ("macs,top1\n0.39,70\n", "line 2: macs is 0.39, expected a whole count, not billions"),
        ("macs,top1\n1e9,0.7\n2e9,.75\n", r"line 2: top1 is 0.7 \(so are 1 more\), expected percent, not a fraction"),
        ("macs,top1\n1e9,170\n", "line 2: top1 is 170, expected a percentage"),
        ("macs,top1\n1e9,-1\n", "line 2: top1 is -1, expected a percentage"),
        ("macs,error\n1e9,.3\n2e9,.2\n", "percent, not a fraction of 1"),
        ("macs,top1\n", "has no rows below a header"),
        ("", "is empty"),
        ('macs,top1\n"1e9,70\n', "is no CSV file"),
    ],
)
def test_faults_are_named_with_their_line(write: Write, text: str, said: str) -> None:
    path = write(text)
    with pytest.raises(NasError, match=said) as refused:
        top1_of(read_columns(path, required=("macs",), one_of=ACCURACY), path)
    assert str(path) in str(refused.value)


def test_files_that_are_no_text_or_missing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NasError, match=r"cannot read .*none\.csv: No such file"):
        read_columns(tmp_path / "none.csv")
    (tmp_path / "image.csv").write_bytes(b"\xff\xd8\x00")
    with pytest.raises(NasError, match="is no CSV file in UTF-8"):
        read_columns(tmp_path / "image.csv")


def test_repeated_rows_count_once_unless_they_disagree(write: Write) -> None:
    path = write("name,seed,macs,top1\na,0,1e9,70\na,1,1e9,71\na,0,1e9,70\n")
    frame = read_columns(path, required=("macs",), one_of=ACCURACY)
    assert without_repeats(frame, ("name", "seed"), ("macs", "top1"), path).index.tolist() == [2, 3]
    with pytest.raises(NasError, match=r"lines 2 and 3 disagree: both are name a, but top1 is 70.0 and 71.0"):
        without_repeats(frame, ("name",), ("macs", "top1"), path)


def test_refusing_names_the_first_wrong_row(write: Write) -> None:
    path = write("depth\n1\n-2\n-3\n")
    frame = read_columns(path, required=("depth",))
    refuse(frame["depth"] < -9, frame, "depth", path, "anything")
    with pytest.raises(NasError, match=r"line 3: depth is -2 \(so are 1 more\), expected a positive number"):
        refuse(frame["depth"] <= 0, frame, "depth", path, "a positive number")
    need_rows(frame, 3, path, "")
    with pytest.raises(NasError, match="has 3 observations, at least 4 are needed: a reason"):
        need_rows(frame, 4, path, "a reason")


FAMILIES = (
    "family,name,macs,top1\n"
    + "".join(f"mine,m{x},{x}e9,{100 - 30 * x**-0.5 - 5}\n" for x in (1, 2, 3, 4, 5))
    + "".join(f"other,o{x},{x}e9,{100 - 20 * x**-0.2 - 3}\n" for x in (1, 2, 4, 8))
)


def test_a_table_holds_a_law_for_each_family(write: Write) -> None:
    laws = laws_of_table(write(FAMILIES))
    assert {name: (law.a, law.b, law.c) for name, law in laws.items()} == {
        "mine": pytest.approx((30, 0.5, 5), rel=1e-4),
        "other": pytest.approx((20, 0.2, 3), rel=1e-3),
    }
    assert laws["mine"].names == ("m1", "m2", "m3", "m4", "m5")
    (chosen,) = laws_of_table(write(FAMILIES), where=["name~^m", "family=mine"]).values()
    assert chosen == laws["mine"]


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (["name"], "expected COLUMN=VALUE or COLUMN~REGEX"),
        (["nane=m1"], "has no column 'nane'; did you mean 'name'"),
        (["name~("], "is no regular expression"),
        (["family=others"], "no row of .* meets it; did you mean 'other'"),
        (["name~[123]"], "has 3 observations, at least 4 are needed: a scaling law of family 'mine'"),
    ],
)
def test_rows_that_cannot_be_chosen_are_refused(write: Write, where: list[str], said: str) -> None:
    with pytest.raises(NasError, match=said):
        laws_of_table(write(FAMILIES), where=where)


def test_an_inversion_names_its_lines(write: Write) -> None:
    path = write("model,macs,top1\na,1e9,70\nb,2e9,75\nc,3e9,71\nd,4e9,78\n")
    with pytest.raises(NasError, match=r"c \(line 4\) has 4.00 points more than b \(line 3\)"):
        laws_of_table(path)
    with pytest.raises(NasError, match="line 3: macs is -2e\\+09"):
        laws_of_table(write("macs,top1\n1e9,70\n-2e9,75\n"))
    unnamed = write("macs,top1\n1e9,70\n2e9,75\n3e9,71\n4e9,78\n")
    with pytest.raises(NasError, match=r"line 4 has 4\.00 points more than line 3"):
        laws_of_table(unnamed)
