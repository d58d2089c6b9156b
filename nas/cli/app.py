"""All commands, gathered."""

from __future__ import annotations

import typer

from nas.cli import bench, compare, export, import_weights, listing, profile, report, resume, scale, search, show

app = typer.Typer(
    name="nas",
    help="Search for the best network for your hardware.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("search")(search.search)
app.command("resume")(resume.resume)
app.command("list")(listing.list_names)
app.command("show")(show.show)
app.command("compare")(compare.compare)
app.command("report")(report.report)
app.command("export")(export.export)
app.command("import-weights")(import_weights.import_weights)
app.add_typer(bench.app, name="bench")
app.add_typer(profile.app, name="profile")
app.add_typer(scale.app, name="scale")


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    """Search for the best network for your hardware."""
    if version:
        from nas import __version__

        typer.echo(f"nas {__version__}")
        raise typer.Exit
