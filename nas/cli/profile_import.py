"""`nas profile import`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas.cli.console import print_json

if TYPE_CHECKING:
    from nas.hardware.tables.importers import Imported


def import_profile(
    files: Annotated[list[Path], typer.Argument(help="Tables or logs, or folders of logs.")],
    to: Annotated[Path, typer.Option(help="Profile folder to make; its name is the target's.")],
    format: Annotated[str, typer.Option(help="csv (or JSON), tflite, executorch, onnxruntime, proxyless.")] = "auto",
    space: Annotated[str | None, typer.Option(help="Space of the networks; default: published networks.")] = None,
    network: Annotated[str | None, typer.Option(help="Network that the logs are of: published name or code.")] = None,
    names: Annotated[Path | None, typer.Option(help="CSV file with columns file, code: which log is of which.")] = None,
    metric: Annotated[str | None, typer.Option(help="The only metric of a table to read, e.g. energy_mj.")] = None,
    column: Annotated[str | None, typer.Option(help="Column of a table to read, where several may be meant.")] = None,
    unit: Annotated[str | None, typer.Option(help="Unit of the column, where its name does not say.")] = None,
    device: Annotated[str, typer.Option(help="What was measured on, e.g. 'Google Pixel 6'.")] = "",
    soc: Annotated[str, typer.Option(help="Its chip.")] = "",
    clock: Annotated[str, typer.Option(help="Its clock, and whether it was fixed.")] = "",
    processor: Annotated[str | None, typer.Option(help="CPU core, GPU or accelerator of it.")] = None,
    runtime: Annotated[str | None, typer.Option(help="Runtime and version.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads; default: what the logs say.", min=1)] = None,
    precision: Annotated[str | None, typer.Option(help="float32, float16, int8 ...")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images at a time.", min=1)] = None,
    measured_by: Annotated[str | None, typer.Option(help="Who measured.")] = None,
    measured: Annotated[str | None, typer.Option(help="When.")] = None,
    source: Annotated[str | None, typer.Option(help="Where the figures are from.")] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of the figures.")] = None,
    published: Annotated[
        list[str] | None, typer.Option(help="NETWORK=MS, a whole network to compare a block table with; repeatable.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Make a profile folder from measurements of any tool: tables, logs of benchmark tools, block look-up tables.

    Example: nas profile import logs/ --to my_phone --space mbconv --device 'Google Pixel 6' --precision float32
    """
    from nas.hardware.profile import Conditions
    from nas.hardware.tables.importers import ImportRequest, import_measurements
    from nas.search.spaces import find_space

    stated = {
        "processor": processor, "runtime": runtime, "threads": threads, "precision": precision,
        "batch_size": batch_size, "measured_by": measured_by, "measured": measured, "source": source,
        "licence": licence,
    }  # fmt: skip
    found = import_measurements(
        ImportRequest(
            files, format, find_space(space) if space else None, network, names, metric, column, unit,
            _latencies(published or []),
        ),
        to,
        {"device": device, "soc": soc, "clock": clock},
        Conditions.model_validate({name: value for name, value in stated.items() if value is not None}),
    )  # fmt: skip
    if as_json:
        print_json(_as_json(found, to))
        return
    for label, text in _lines(found, to):
        typer.echo(f"{label:10s}{text}")


def _latencies(texts: list[str]) -> dict[str, float]:
    from nas.errors import NasError

    latencies = {}
    for text in texts:
        network, _, value = text.partition("=")
        try:
            latencies[network] = float(value.removesuffix("ms"))
        except ValueError:
            raise NasError(f"--published is {text!r}, expected NETWORK=MS, such as mnasnet_b1=76") from None
        if not 0 < latencies[network] < float("inf"):
            raise NasError(f"--published {text}: a latency must be above 0")
    return latencies


def _lines(found: Imported, folder: Path) -> list[tuple[str, str]]:
    """What is printed, each line with its label."""
    lines = []
    if found.table is not None:
        lines.append(("Read", f"a table of {len(found.table.parameters.blocks)} blocks"))
        lines += [
            ("Compared", f"{each.network} {each.predicted_ms:.2f} ms by the table, {each.published_ms:g} ms given")
            for each in found.profile.fits[0].published
        ]
    if found.measured is not None:
        lines += _measured_lines(found)
    lines.append(("Wrote", f"{folder}/: " + ", ".join(sorted(file.name for file in folder.iterdir()))))
    unknown = _not_stated(found)
    if unknown:
        lines.append(("Unknown", f"{', '.join(unknown)}; see --help, or write them into profile.yaml"))
    follow = "nas profile fit" if found.measured is not None else "nas show target"
    return [*lines, ("Next", f"{follow} {folder}")]


def _measured_lines(found: Imported) -> list[tuple[str, str]]:
    import numpy as np

    from nas.hardware.tables.units import BY_METRIC

    table = found.measured
    assert table is not None
    of = table.space.name if table.space else "the published ones"
    empty = f"; {table.empty} rows without a value left out" if table.empty else ""
    statistic = f", {found.statistic} of {_range(table.runs)} runs each" if found.statistic else ""
    files = f"{_counted(found.files, 'file')} ({found.format})"
    lines = [("Read", f"{files}: {_counted(len(table), 'network')} of {of}{statistic}{empty}")]
    for metric in table.metrics:
        of_metric = table.of(metric)
        quantity, values = BY_METRIC[metric], of_metric.values[metric]
        text = f"{values.min():.4g} to {values.max():.4g} {quantity.unit}, {_counted(len(values), 'network')}, measured"
        if quantity.name == "latency":
            text += f"; typically {np.median(of_metric.macs / values) / 1e6:.3g} G multiply-adds/s"
        lines.append((quantity.name.capitalize(), text))
    return lines


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _range(values: object) -> str:
    import numpy as np

    low, high = np.min(values), np.max(values)  # type: ignore[call-overload]
    return f"{low}" if low == high else f"{low} to {high}"


def _not_stated(found: Imported) -> list[str]:
    """Which facts nobody stated, as options."""
    from nas.hardware.profile import NOT_STATED

    profile = found.profile
    conditions = profile.conditions or profile.fits[0]
    names = ("processor", "runtime", "threads", "precision", "batch_size", "measured_by", "measured", "licence")
    facts = {name: getattr(profile, name) for name in ("device", "soc", "clock")}
    facts |= {name: getattr(conditions, name) for name in names}
    return [name.replace("_", "-") for name, value in facts.items() if value in (None, NOT_STATED)]


def _as_json(found: Imported, folder: Path) -> dict[str, object]:
    content: dict[str, object] = {
        "folder": str(folder),
        "format": found.format,
        "files": found.files,
        "not_stated": _not_stated(found),
    }
    if found.measured is not None:
        table = found.measured
        content |= {
            "space": table.space.name if table.space else None,
            "networks": len(table),
            "metrics": list(table.metrics),
            "rows_without_value": table.empty,
            "statistic": found.statistic or None,
        }
    if found.table is not None:
        content["blocks"] = len(found.table.parameters.blocks)
        content["compared"] = [each.model_dump() for each in found.profile.fits[0].published]
    return content
