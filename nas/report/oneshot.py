"""The page of a one-shot search: while it runs, one that reloads itself; afterwards what happened."""

from __future__ import annotations

import html
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from nas.errors import NasError
from nas.report.assets import asset, content_policy, embed, plotly_script, script_text
from nas.report.oneshot_facts import (
    EXPECTED,
    Record,
    Stretch,
    architecture_weights,
    duration,
    number_of,
    origin_of,
    panels,
    seconds_an_epoch,
    stretches,
)
from nas.search.metrics import METRICS
from nas.supernet.record import FOLDER

if TYPE_CHECKING:
    from nas.supernet.supernet import Site

PAGE = "report.html"
#: seconds from one reload of the page to the next
RELOAD = 10
#: derived networks that are listed, the latest first
LISTED = 12
#: nothing is dark grey, what is passed on is vermilion, because a search that collapses shows it everywhere
_NONE, _SKIP = "#9aa3ae", "#d55e00"
#: for the other operations (Okabe & Ito, 2008; Tol, 2021)
_COLOURS = (
    "#0072b2", "#56b4e9", "#009e73", "#cc79a7", "#e69f00", "#7a5fc0", "#44aa99", "#aa4499", "#999933", "#117733",
    "#882255", "#88ccee", "#ddcc77", "#332288",
)  # fmt: skip
#: from the first choice of a decision to the last, where sites differ in their choices
_RAMP = ("#e8c547", "#8cc152", "#2fa58a", "#2e7fa3", "#56489c")


def write_page(
    run_folder: Path, sites: Sequence[Site], title: str, ended: str, epochs: int | None = None,
    errors: Mapping[str, str] | None = None,
) -> Path:  # fmt: skip
    """Write RUN/supernet/report.html (about 5 MB, nearly all of it plotly.js), whole or not at all; returns its path.

    Args:
        run_folder: of the run; what is drawn is read from RUN/supernet/epochs.jsonl.
        sites: of the supernet.
        title: of the page.
        ended: why the search has ended or stopped; "" while it runs: then the page reloads itself.
        epochs: of the whole search, where they are known.
        errors: predicted metric -> the held-out error of its predictor, in words.

    Raises:
        NasError: the records are damaged or of another supernet, or the page cannot be written.
    """
    from nas.supernet.checkpoint import RECORDS, read_records

    source = run_folder / FOLDER / RECORDS
    path = run_folder / FOLDER / PAGE
    text = render(read_records(source), sites, title, ended, epochs, str(source), errors)
    part = path.with_name(f".{PAGE}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise NasError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)
    return path


def render(
    records: Sequence[Record], sites: Sequence[Site], title: str, ended: str, epochs: int | None = None,
    source: str = "records", errors: Mapping[str, str] | None = None,
) -> str:  # fmt: skip
    """Return the page of the records of all epochs so far, the first of them epoch 1. See `write_page`.

    Args:
        source: where they are from, for errors.

    Raises:
        NasError: the weights of an epoch are not of these sites.
    """
    drawn, weights = panels(records, errors), _weights(architecture_weights(records, sites, source), sites)
    script, now = script_text(asset("oneshot.js")), time.time()
    data = {
        "panels": [asdict(panel) for panel in drawn], "weights": weights, "live": not ended, "written": now,
        "seconds": seconds_an_epoch(records),
    }  # fmt: skip
    return Template(asset("oneshot.html")).substitute(
        policy=content_policy(plotly_script(), script),
        refresh="" if ended else f'<meta http-equiv="refresh" content="{RELOAD}">',
        tab=html.escape(title if ended else f"{_count(records, epochs)} · {title}"),
        title=html.escape(title),
        css=asset("report.css") + asset("oneshot.css"),
        status=_status(records, ended, epochs, now),
        kpis="".join(_kpis(records)),
        panels="".join(
            f'<section class="card"><h2>{html.escape(panel.title)}</h2><div class="plot curve" id="panel{i}"></div>'
            f'<p class="note">{html.escape(panel.note)}</p></section>'
            for i, panel in enumerate(drawn)
        ),
        weights=_weights_card(weights),
        derived=_derived_card(records),
        data=embed(data),
        plotly=plotly_script(),
        script=script,
    )


def _count(records: Sequence[Record], epochs: int | None) -> str:
    return f"epoch {len(records)} of {epochs}" if epochs else f"epoch {len(records)}"


def _status(records: Sequence[Record], ended: str, epochs: int | None, now: float) -> str:
    """One line: how far the search is, and whether it still runs."""
    pace, count = seconds_an_epoch(records), _count(records, epochs)
    parts = [f"<b>{'Ended' if ended else 'Running'}</b>: {html.escape(ended)}" if ended else f"<b>Running</b>: {count}"]
    if ended:
        parts.append(count)
    elif not records:
        parts.append("the first epoch is not over yet")
    if pace is not None:
        parts.append(f"{duration(pace)} an epoch")
        if not ended and epochs:
            parts.append(f"about {duration(pace * (epochs - len(records)))} to go at the pace of the last epochs")
    written = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    parts.append(f'written {written}<span id="age"></span>')
    if not ended:
        parts.append(f"reloads every {RELOAD} s")
    return " · ".join(parts)


def _kpis(records: Sequence[Record]) -> list[str]:
    """The latest values."""
    if not records:
        return []
    last, found = records[-1], []
    for key, what, more in (
        ("train_accuracy", "Supernet, training images", "measured"),
        ("architecture_accuracy", "Supernet, architecture images", "measured"),
        ("entropy", "Entropy of the sites", "computed"),
        ("skip_share", "Skip share, derived network", "computed"),
    ):
        if (value := number_of(last, key)) is not None:
            found.append(_kpi(what, f"{100 * value:.1f}", "%", more))
    for name in last:
        if name.startswith(EXPECTED) and (value := number_of(last, name)) is not None:
            metric = METRICS[name.removeprefix(EXPECTED)]
            found.append(
                _kpi(f"Expected {metric.label}", metric.number(value), metric.unit, origin_of(metric.name))
            )  # fmt: skip
    if (value := number_of(last, "eigenvalue")) is not None:
        found.append(_kpi("Dominant eigenvalue", f"{value:.3g}", "", "measured"))
    if derived := stretches(records):
        kept, changed = derived[-1].last - derived[-1].first, len(derived) > 1
        when = f"epoch {derived[-1].first}" if changed else "never"
        more = f"{kept} epoch{'s' * (kept != 1)} ago" if changed else f"from epoch {derived[-1].first} on"
        found.append(_kpi("Derived network changed", when, "", "", more))
    return found


def _kpi(what: str, value: str, unit: str, origin: str, more: str = "") -> str:
    badge = f'<span class="badge {origin}">{origin}</span>' if origin else html.escape(more)
    return (
        f'<div class="kpi"><div class="what">{html.escape(what)}</div>'
        f'<div class="value">{value} <small>{html.escape(unit)}</small></div><div class="more">{badge}</div></div>'
    )


def _weights(by_epoch: Mapping[int, list[list[float]]], sites: Sequence[Site]) -> dict[str, Any] | None:
    """What the script draws of the architecture weights, None where there are none."""
    if not by_epoch:
        return None
    epochs, values = list(by_epoch), list(by_epoch.values())
    constant = all(each == values[0] for each in values)
    if constant:
        epochs, values = epochs[-1:], values[-1:]
    operations = [site.operations for site in sites]
    alike = len(set(operations)) == 1
    colours = _operation_colours(operations[0]) if alike else list(_RAMP)
    # The colour of each operation, by its position among them all, or from the first choice of its site to the last.
    classes = [
        [i if alike else round(i * (len(colours) - 1) / max(len(names) - 1, 1)) for i in range(len(names))]
        for names in operations
    ]
    return {
        "sites": [site.name for site in sites], "operations": operations, "alike": alike, "constant": constant,
        "colours": colours, "classes": classes, "epochs": epochs, "values": values,
    }  # fmt: skip


def _operation_colours(operations: Sequence[str]) -> list[str]:
    from nas.strategies.oneshot.base import SKIPS

    others = iter(_COLOURS * len(operations))
    return [_NONE if name == "none" else _SKIP if name in SKIPS else next(others) for name in operations]


def _weights_card(weights: Mapping[str, Any] | None) -> str:
    if weights is None:
        note = "None are recorded: this strategy has no weights that tell operations apart."
        return f'<section class="card"><h2>Architecture weights</h2><p class="note">{note}</p></section>'
    if weights["alike"]:
        named = zip(weights["colours"], weights["operations"][0], strict=True)
        legend = "".join(f'<span><i style="--fill:{colour}"></i>{html.escape(name)}</span>' for colour, name in named)
    else:
        ramp = "".join(f'<i style="--fill:{colour}"></i>' for colour in weights["colours"])
        legend = f"<span>first choice of a decision {ramp} last choice</span>"
    note = "Computed: how likely or strong each operation is, 1 in all for a site. "
    if weights["constant"]:
        note += "The same in all epochs recorded."
        controls = ""
    else:
        note += (
            "On the right the operation with the largest weight, the fainter the less sure; a click there, or the "
            "slider, chooses the epoch on the left. What a network keeps of them is for the rule of its space."
        )
        top = len(weights["epochs"])
        controls = (
            f'<label class="controls" for="epoch">after epoch <input type="range" id="epoch" min="1" max="{top}" '
            f'value="{top}"><output id="chosen" for="epoch"></output></label>'
        )
    return (
        f'<section class="card"><div class="bar"><h2>Architecture weights</h2>{controls}</div>'
        f'<div class="legend">{legend}</div><div id="weights"></div><p class="note">{note}</p></section>'
    )


def _derived_card(records: Sequence[Record]) -> str:
    found = stretches(records)
    if not found:
        note = "None is recorded: this strategy derives none while it trains." if records else "None yet."
        return f'<section class="card"><h2>Derived network</h2><p class="note">{note}</p></section>'
    rows = "".join(map(_derived_row, reversed(found[-LISTED:])))
    left_out = f" The {LISTED} latest are listed." if len(found) > LISTED else ""
    return (
        '<section class="card"><h2>Derived network</h2><div class="scroll"><table class="data"><thead><tr>'
        '<th>after epoch</th><th class="num">epochs</th><th>code</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
        f'<p class="note">What the architecture weights stand for after each epoch; it changed {len(found) - 1} '
        f"time{'s' * (len(found) != 2)}.{left_out} It is judged on validation images when the search has ended.</p>"
        "</section>"
    )


def _derived_row(stretch: Stretch) -> str:
    first, last = stretch.first, stretch.last
    when = str(first) if first == last else f"{first} to {last}"
    return (
        f'<tr><td>{when}</td><td class="num">{last - first + 1}</td>'
        f'<td><code class="code">{html.escape(stretch.code)}</code></td></tr>'
    )
