"""`nas profile`"""

from __future__ import annotations

import typer

from nas.cli import profile_fit, profile_import, profile_measure, profile_transfer, profile_validate

app = typer.Typer(help="Measure a device, and fit predictors of what networks take on it.", no_args_is_help=True)


@app.callback()
def root() -> None:
    """Measure a device, and fit predictors of what networks take on it.

    Example: nas profile measure --space mbconv --out my_laptop
    """


app.command("measure")(profile_measure.measure)
app.command("fit")(profile_fit.fit)
app.command("validate")(profile_validate.validate)
app.command("transfer")(profile_transfer.transfer)
app.command("import")(profile_import.import_profile)
