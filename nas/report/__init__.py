"""The static report of a search run: one HTML file that opens without a network."""

from nas.report.html import (
    Block,
    Column,
    Constraint,
    Objective,
    Origin,
    Point,
    Progress,
    Provenance,
    PublishedNetwork,
    ReportData,
    RunInfo,
    SpaceInfo,
    TargetInfo,
    render,
)

__all__ = [
    "Block",
    "Column",
    "Constraint",
    "Objective",
    "Origin",
    "Point",
    "Progress",
    "Provenance",
    "PublishedNetwork",
    "ReportData",
    "RunInfo",
    "SpaceInfo",
    "TargetInfo",
    "render",
]
