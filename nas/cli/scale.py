"""`nas scale`"""

from __future__ import annotations

import typer

from nas.cli import scale_design, scale_emit, scale_fit, scale_law, scale_plan

app = typer.Typer(
    help="Scale a network to a family: fit coefficients, emit members, scaling laws.", no_args_is_help=True
)


@app.callback()
def root() -> None:
    """Scale a network to a family: fit coefficients, emit members, scaling laws.

    Example: nas scale emit --base efficientnet_b0 --coefficients 1.2,1.1,1.15 --phi 0..7
    """


app.command("design")(scale_design.design)
app.command("fit")(scale_fit.fit)
app.command("emit")(scale_emit.emit)
app.command("law")(scale_law.law)
app.command("plan")(scale_plan.plan)
