"""What a search is asked to do, from options, a YAML file or Python, checked before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nas.errors import NasError, suggestion
from nas.plain_yaml import load_yaml
from nas.search.oneshot_settings import parse_settings
from nas.search.quantities import parse_bounds, parse_quantity

#: configuration keys whose values carry a unit, and the field each fills
_WITH_UNIT = {"max_latency": "max_latency_ms", "max_params": "max_params", "max_macs": "max_macs"}

Bound = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class SearchConfig(BaseModel):
    """Everything the options of `nas search` say.

    Args:
        target: registered names or profile folders, separated by commas.
        space: a registered name; before a run is made, also the path of a space file.
        space_declaration: the content of the space file, so that a run can go on when the file is gone.
        scheduler: says how long each network is trained; `none`: fully.
        estimator: a registered name, or `name:argument` where it takes one.
        data: folder of the data an estimator reads; None: the one it finds itself. With a one-shot strategy the images
            that it trains on; None: "digits".
        objectives: metrics to optimise; none: accuracy and latency on the target, or MACs without a target.
        max, min: upper and lower bounds by metric, in the metric's own unit; `max_latency_ms`, `max_params` and
            `max_macs` are short for the upper bounds that are asked for most.
        start_from: networks to evaluate first; in the configuration of a run, their code strings.
        learn_from: runs and CSV files whose results are known beforehand; a run keeps a copy of those results.
        confidence: with what probability bounds on a target's predictions are to be met; None: the prediction is.
        verify: networks of the front to be measured on this machine when the search has ended.
        oneshot: settings of a one-shot strategy; None for a black-box one. In the configuration of a run all of them.
        budget: networks evaluated, those of `start_from` included, those known by `learn_from` not;
            with a scheduler as many epochs as that many full trainings take, with a one-shot strategy networks judged
            with the shared weights when these are trained.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    space: str
    target: str | None = None
    confidence: float | None = Field(default=None, gt=0, lt=1)
    verify: int = Field(default=0, ge=0)
    strategy: str = "nsga2"
    scheduler: str = "none"
    estimator: str = "surrogate"
    data: str | None = None
    #: YAML has lists only
    objectives: tuple[str, ...] = Field(default=(), strict=False)
    max_latency_ms: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    max_params: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    max_macs: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    max: dict[str, Bound] = Field(default_factory=dict)
    min: dict[str, Bound] = Field(default_factory=dict)
    budget: int = Field(default=20_000, ge=1)
    seed: int = Field(default=0, ge=0)
    #: YAML has lists only
    start_from: tuple[str, ...] = Field(default=(), strict=False)
    learn_from: tuple[str, ...] = Field(default=(), strict=False)
    space_declaration: dict[str, Any] | None = None
    oneshot: dict[str, Any] | None = None

    @property
    def upper_bounds(self) -> dict[str, float]:
        """Metric name -> upper bound, for the bounds that were given.

        Raises:
            NasError: a metric is bounded by `max` and by its own option.
        """
        short = {"latency_ms": self.max_latency_ms, "params": self.max_params, "macs": self.max_macs}
        bounds = {metric: bound for metric, bound in short.items() if bound is not None}
        for metric in bounds:
            if metric in self.max:
                raise NasError(f"{metric} is bounded twice, by max_{metric} and by max {metric}={self.max[metric]:g}")
        return bounds | self.max


def make_config(settings: Mapping[str, Any], origin: str = "") -> SearchConfig:
    """Return a checked configuration from fields of `SearchConfig`; `origin` names where they stand, for messages.

    Raises:
        NasError: a field is missing, has a wrong type, or a value out of range.
    """
    where = f"{origin}: " if origin else ""
    if "space" not in settings:
        raise NasError(f"{where}no search space given; add --space NAME (see `nas list spaces`)")
    # A latency of 20 means 20.0; no other number is converted silently.
    floats = {key: _as_float(v) if key.startswith(("max", "min")) else v for key, v in settings.items()}
    try:
        return SearchConfig.model_validate(floats)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            raise NasError(f"{where}unknown key {key!r}{suggestion(key, SearchConfig.model_fields)}") from None
        raise NasError(f"{where}{key} is {first['input']!r}: {first['msg'].lower()}") from None


def _as_float(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {metric: _as_float(bound) for metric, bound in value.items()}
    return float(value) if type(value) is int else value


def settings_of(values: Mapping[str, Any], origin: str = "") -> dict[str, Any]:
    """Return fields of `SearchConfig` from keys and values as users write them, without those that are None.

    Budgets carry units: `max_latency: 20ms`, `max_params: 5.3M`, `max_macs: 390M`, `max: {peak_activation_bytes: 2M}`.
    The key `out`, a path, is kept.

    Raises:
        NasError: an unknown key (with the nearest valid one), or a bad quantity.
    """
    where = f"{origin}: " if origin else ""
    known = (set(SearchConfig.model_fields) - {"space_declaration"}) | set(_WITH_UNIT) | {"out", "epochs", "set"}
    settings: dict[str, Any] = {}
    oneshot = _oneshot_of(values, where)
    for key, value in values.items():
        if key in ("epochs", "set", "oneshot"):
            continue
        if key not in known:
            raise NasError(f"{where}unknown key {key!r}{suggestion(str(key), known)}")
        if key == "out" and not isinstance(value, str | Path | None):
            raise NasError(f"{where}out is {value!r}, expected a path")
        if key == "data" and isinstance(value, Path):
            value = str(value)
        if key in ("start_from", "learn_from") and isinstance(value, str):
            value = (value,)
        if key == "objectives" and isinstance(value, str):
            value = tuple(name.strip() for name in value.split(","))
        if key in ("max", "min") and value is not None:
            value = parse_bounds(key, value, where)
        if value is not None:
            field = _WITH_UNIT.get(key, key)
            settings[field] = parse_quantity(key, value, where) if key in _WITH_UNIT else value
    return settings | ({"oneshot": oneshot} if oneshot else {})


def _oneshot_of(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the settings of a one-shot strategy: those of `oneshot`, of `set` (KEY=VALUE) and of `epochs`."""
    given, texts = values.get("oneshot") or {}, values.get("set") or []
    if not isinstance(given, Mapping):
        raise NasError(f"{where}oneshot is {given!r}, expected settings such as {{epochs: 20}}")
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        raise NasError(f"{where}set is {texts!r}, expected texts KEY=VALUE")
    settings = dict(given) | parse_settings(texts)
    if values.get("epochs") is not None:
        settings["epochs"] = values["epochs"]
    return settings


def merged(file: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a file with those of options over them; settings of a one-shot strategy one by one."""
    both = {**file, **options}
    if "oneshot" in file and "oneshot" in options:
        both["oneshot"] = {**file["oneshot"], **options["oneshot"]}
    return both


def read_settings(path: Path) -> dict[str, Any]:
    """Return the fields of `SearchConfig` that a YAML file sets.

    Raises:
        NasError: it cannot be read, is not YAML, is not a mapping, or holds an unknown key or a bad quantity.
    """
    try:
        content = load_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise NasError(f"cannot read {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise NasError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise NasError(f"{path} holds {type(content).__name__}, expected keys and values such as `space: mbconv`")
    return settings_of({str(key): value for key, value in content.items()}, str(path))
