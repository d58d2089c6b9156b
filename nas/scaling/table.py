"""What is known of the members of a family, side by side: counts, predicted latency, accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nas.errors import NasError
from nas.scaling.family import Family, Member
from nas.space.catalogue import published_top1

if TYPE_CHECKING:
    import pandas as pd

    from nas.hardware import Fitted
    from nas.scaling.laws.law import Law


def family_table(family: Family, fitted: Fitted | None = None, law: Law | None = None) -> pd.DataFrame:
    """Return one row a member, indexed by name.

    Columns: phi, depth, width and resolution_multiplier (NaN where a published member follows none), resolution;
    exact params, macs, macs_growth (times those of the base), peak_activation_bytes; budget where members have one;
    with `fitted`, its metric (say latency_ms) with `_low` and `_high` (90 % interval) and `<metric>_growth` (times
    the member before); with `law`, top1 with `_low` and `_high`; published_top1 of published members.

    Raises:
        NasError: the target's predictor knows nothing of a member, or the law is of a cost that is not known.
    """
    import pandas as pd

    macs = family.base_spec.cost()["macs"]
    rows = pd.DataFrame(
        [_row(member, macs) for member in family.members],
        index=pd.Index([member.name for member in family.members], name="member"),
    )
    if fitted is not None:
        rows = rows.join(_predicted(family, fitted, rows.index))
    if law is not None:
        if law.cost not in rows:
            raise NasError(
                f"the law is of {law.cost}, which is not known of these networks; name a target that predicts it, or "
                "fit a law of macs or params"
            )
        error, low, high = law.predict(rows[law.cost].to_numpy(dtype=float))
        rows["top1"], rows["top1_low"], rows["top1_high"] = 100 - error, 100 - high, np.minimum(100.0, 100 - low)
    return rows


def _row(member: Member, base_macs: int) -> dict[str, float | int | None]:
    cost, by = member.spec.cost(), member.by
    figure = published_top1(member.network) if member.network else None
    return {
        "phi": np.nan if member.phi is None else member.phi,
        "depth": by.depth if by else np.nan,
        "width": by.width if by else np.nan,
        "resolution_multiplier": by.resolution if by else np.nan,
        "resolution": member.spec.resolution,
        "budget": np.nan if member.budget is None else member.budget,
        "params": cost["params"],
        "macs": cost["macs"],
        "macs_growth": cost["macs"] / base_macs,
        "peak_activation_bytes": cost["peak_activation_bytes"],
        "published_top1": figure.value if figure else np.nan,
    }


def _predicted(family: Family, fitted: Fitted, names: pd.Index) -> pd.DataFrame:
    import pandas as pd

    predictions = np.array([fitted.predictor.predict_spec(member.spec) for member in family.members])
    mean, std = predictions[:, 0], predictions[:, 1]
    low, high = fitted.predictor.interval(mean, std)
    growth = np.append(np.nan, mean[1:] / mean[:-1])
    name = fitted.metric
    columns = {name: mean, f"{name}_low": low, f"{name}_high": high, f"{name}_growth": growth}
    return pd.DataFrame(columns, index=names)
