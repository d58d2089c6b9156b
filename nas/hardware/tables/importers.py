"""Measurements made with any tool -> a profile folder: profile.yaml and measurements.csv, ready to be fitted."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nas.errors import NasError, suggestion
from nas.hardware.predictors.lookup import LookupPredictor
from nas.hardware.profile import NOT_STATED, Conditions, Fit, Profile, PublishedLatency, write_profile
from nas.hardware.tables.benchmark_logs import LOG_FORMATS, Timing
from nas.hardware.tables.block_tables import is_block_table, read_block_table
from nas.hardware.tables.measured_rows import MeasuredRow
from nas.hardware.tables.measurements import Measurements, assemble, read_measurements, write_measurements
from nas.hardware.tables.network_names import name_network
from nas.hardware.tables.records import read_records, read_text
from nas.hardware.tables.units import QUANTITIES
from nas.space import SearchSpace
from nas.space.catalogue import load_network

#: tables of networks, and of blocks; CSV may be JSON
TABLE, BLOCKS = "csv", "proxyless"
FORMATS = (TABLE, *LOG_FORMATS, BLOCKS)
#: endings of logs that are no part of a network's name
_ENDINGS = (".txt", ".log", ".out", ".csv", ".tsv")
MEASUREMENTS, PROFILE, PREDICTOR = "measurements.csv", "profile.yaml", "predictor.json"


@dataclass(frozen=True)
class ImportRequest:
    """What to import, and how to read it.

    Args:
        files: tables or logs; a folder stands for the files in it.
        format: one of FORMATS, or "auto".
        space: of which the networks are; None: as the table says, or published networks.
        network: the one that all logs are of.
        names: CSV file with the columns `file` and `code` (or another that names networks): which log is of which.
        metric, column, unit: of tables, see `read_measurements`; `unit` of block tables too.
        published: latencies of whole networks in ms, for a block table to be compared with.
    """

    files: Sequence[Path]
    format: str = "auto"
    space: SearchSpace | None = None
    network: str | None = None
    names: Path | None = None
    metric: str | None = None
    column: str | None = None
    unit: str | None = None
    published: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Imported:
    """What was imported.

    Args:
        measured: the networks; None for a block table.
        table: the predictor of a block table.
        statistic: which one logs give, "median", "mean" or both; "" of tables.
    """

    profile: Profile
    format: str
    files: int
    measured: Measurements | None = None
    table: LookupPredictor | None = None
    statistic: str = ""


def import_measurements(
    request: ImportRequest, folder: Path, facts: Mapping[str, str], conditions: Conditions
) -> Imported:
    """Write a new profile folder from measurements of others; nothing is written where something is wrong.

    Args:
        facts: device, soc, clock, description, where known.
        conditions: as far as the user knows them; what the logs say is filled in.

    Raises:
        NasError: the folder is there, a file cannot be read, or what it holds is wrong; says where.
    """
    if folder.exists():
        raise NasError(f"{folder} is there already and is not overwritten; choose another name")
    files = list(_files(request.files))
    format = _format(request.format, files)
    _check_options(request, format)
    if conditions.source == NOT_STATED:
        names = ", ".join(file.name for file in files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
        conditions = conditions.model_copy(update={"source": f"imported from {names}"})
    if format == BLOCKS:
        imported = _import_blocks(request, files, folder.name, facts, conditions)
    else:
        imported = _import_networks(request, format, files, folder.name, facts, conditions)
    _write(imported, folder)
    return imported


def _check_options(request: ImportRequest, format: str) -> None:
    """Refuse what was said of another format than the one that is there."""
    for_logs = {"--network": request.network, "--names": request.names}
    for_tables = {"--metric": request.metric, "--column": request.column}
    wrong = {
        **({} if format in LOG_FORMATS else for_logs),
        **({} if format == TABLE else for_tables),
        **({"--unit": request.unit} if format in LOG_FORMATS else {}),
        **({} if format == BLOCKS else {"--published": request.published}),
    }
    option = next((option for option, value in wrong.items() if value), None)
    if option:
        raise NasError(f"{option} is not for files of the format {format}")


def _import_networks(
    request: ImportRequest, format: str, files: list[Path], name: str, facts: Mapping[str, str], conditions: Conditions
) -> Imported:
    statistic = ""
    if format == TABLE:
        measured = read_measurements(files, request.space, request.metric, request.column, request.unit)
    else:
        timings = [(file, timing) for file in files for timing in _timings(file, format)]
        measured = _from_logs(request, timings, format)
        statistic = " and ".join(sorted({timing.statistic for _, timing in timings}))
        conditions = _completed(conditions, format, timings)
    return Imported(_profile(name, facts, conditions), format, len(files), measured, statistic=statistic)


def _from_logs(request: ImportRequest, timings: list[tuple[Path, Timing]], format: str) -> Measurements:
    names = _names(request.names) if request.names else {}
    rows = []
    for file, timing in timings:
        text = request.network or names.get(file.name) or (None if request.names else _stem(file))
        if text is None:
            raise NasError(f"{request.names} does not say of which network {file.name} is")
        try:
            named = name_network(text, request.space)
        except NasError as error:
            told = "" if request.network or request.names else "; name logs after their networks, or use --names"
            raise NasError(f"{file}: {error}{told}") from None
        std = {} if timing.std_ms is None else {"latency_ms": timing.std_ms}
        rows.append(MeasuredRow(str(file), named, {"latency_ms": timing.latency_ms}, std, timing.runs))
    folders = {str(file.parent) for file, _ in timings}
    return assemble(rows, request.space, folders.pop() if len(folders) == 1 else f"the logs of {format}")


def _timings(file: Path, format: str) -> list[Timing]:
    """The timings of a log, at least one, all above 0."""
    log = LOG_FORMATS[format]
    try:
        found = log.read(read_text(file))
    except (NasError, ValueError, KeyError) as error:
        raise NasError(f"{file}: {error}") from None
    if not found:
        raise NasError(f"{file} has no timing of {log.runtime}'s {log.tool}: was it cut off?")
    for timing in found:
        if not timing.latency_ms > 0:
            raise NasError(f"{file}: a latency of {timing.latency_ms:g} ms cannot be measured")
    return found


def _completed(conditions: Conditions, format: str, timings: Sequence[tuple[Path, Timing]]) -> Conditions:
    """The conditions with the runtime, and the threads that the logs state, which must be the same in all."""
    stated = {timing.threads: file for file, timing in timings if timing.threads is not None}
    if conditions.threads is not None:
        stated[conditions.threads] = Path("--threads")
    if len(stated) > 1:
        (first, one), (second, other) = sorted(stated.items())[:2]
        raise NasError(f"{one} was measured with {first} threads, {other} with {second}; import them apart")
    update: dict[str, object] = {"threads": next(iter(stated), None)}
    if conditions.runtime == NOT_STATED:
        update["runtime"] = LOG_FORMATS[format].runtime
    return conditions.model_copy(update=update)


def _import_blocks(
    request: ImportRequest, files: list[Path], name: str, facts: Mapping[str, str], conditions: Conditions
) -> Imported:
    if len(files) > 1:
        raise NasError(f"a block table is one file, not {len(files)}")
    latency = QUANTITIES[0]
    unit = (request.unit or latency.unit).lower()
    if unit not in latency.units:
        raise NasError(f"unknown unit {request.unit!r}{suggestion(unit, latency.units)}")
    table = read_block_table(files[0], latency.units[unit])
    blocks = table.parameters.blocks
    compared = tuple(
        PublishedLatency(
            network=network,
            published_ms=value,
            predicted_ms=round(table.predict_spec(load_network(network))[0], 2),
            source="given with the table",
        )
        for network, value in request.published.items()
    )
    counts = sorted(block.count for block in blocks)
    fit = Fit(
        **conditions.model_dump(),
        metric=latency.metric,
        spaces=(request.space.name,) if request.space else (),
        predictor=PREDICTOR,
        fitted_on=f"nothing; the times of {len(blocks)} blocks, each of {counts[0]} to {counts[-1]} measurements",
        valid_for="networks made of these blocks; any other block is refused",
        not_measured="whole networks; how the errors of blocks go together is unknown, so the interval assumes that "
        "they rise and fall together",
        published=compared,
    )
    profile = _profile(name, facts, None).model_copy(update={"fits": (fit,)})
    return Imported(profile, BLOCKS, 1, table=table)


def _profile(name: str, facts: Mapping[str, str], conditions: Conditions | None) -> Profile:
    known = {key: value for key, value in facts.items() if value}
    device = known.setdefault("device", NOT_STATED)
    known.setdefault("description", f"imported measurements; device {device}" if device == NOT_STATED else device)
    return Profile(name=name, conditions=conditions, **known)  # type: ignore[arg-type]


def _write(imported: Imported, folder: Path) -> None:
    """Write the folder whole or not at all."""
    part = folder.with_name(f".{folder.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        if imported.measured is not None:
            write_measurements(part / MEASUREMENTS, [imported.measured])
        if imported.table is not None:
            imported.table.write(part / PREDICTOR)
        write_profile(imported.profile, part / PROFILE)
        part.rename(folder)
    except OSError as error:
        raise NasError(f"cannot write {folder}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _files(given: Sequence[Path]) -> Iterator[Path]:
    """The files named, those of a folder in the order of their names."""
    if not given:
        raise NasError("name the files to import")
    for path in given:
        if not path.is_dir():
            yield path
            continue
        inside = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
        if not inside:
            raise NasError(f"the folder {path} holds no file")
        yield from inside


def _format(wanted: str, files: Sequence[Path]) -> str:
    """The format of all files, recognised by their content where it is not said."""
    if wanted != "auto":
        if wanted not in FORMATS:
            raise NasError(f"unknown format {wanted!r}{suggestion(wanted, ('auto', *FORMATS))}")
        return wanted
    found = {_recognised(file): file for file in files}
    if len(found) > 1:
        (first, one), (second, other) = sorted(found.items())[:2]
        raise NasError(f"{one} is of the format {first}, {other} of {second}; import them apart")
    return next(iter(found))


def _recognised(file: Path) -> str:
    text = read_text(file)
    if is_block_table(text):
        return BLOCKS
    for name, log in LOG_FORMATS.items():
        try:
            if log.read(text):
                return name
        except (NasError, ValueError, KeyError):
            return name
    if file.name.endswith((".csv", ".csv.gz", ".tsv", ".json")) or text.lstrip()[0] in "[{":
        return TABLE
    raise NasError(f"{file} is in no known format ({', '.join(FORMATS)}); say which by --format")


def _names(path: Path) -> dict[str, str]:
    """Which log is of which network, from a CSV file."""
    records = read_records(path)
    header = list(records[0].cells)
    column = next((name for name in ("code", "network", "architecture", "arch", "item") if name in header), None)
    if "file" not in header or column is None:
        missing = "file" if "file" not in header else "code"
        raise NasError(f"{path} has no column {missing!r}{suggestion(missing, header)}; it needs file and code")
    return {Path(record.cells["file"]).name: record.cells[column] for record in records}


def _stem(file: Path) -> str:
    """A log's name without its ending; a code may hold dots."""
    return next((file.name.removesuffix(ending) for ending in _ENDINGS if file.name.endswith(ending)), file.name)
