"""Reports: what verification leaves beside the journal, in `.wfkit/reports` and `.wfkit/failures`, to be read by screens."""

from __future__ import annotations

from pathlib import Path

from wfkit.control.messages import Report, ReportList, ReportText
from wfkit.errors import BadRequest

FOLDERS = ("reports", "failures")
REPORT_BYTES_MAX = 64 * 1024 * 1024


def list_reports(folder: Path) -> ReportList:
    """Return the reports below the folder of a journal, the newest first."""
    found = []
    for name in FOLDERS:
        for path in (folder / name).rglob("*"):
            if path.is_file() and _is_inside(folder / name, path):
                status = path.stat()
                found.append(Report(str(path.relative_to(folder)), status.st_size, status.st_mtime_ns // 1000))
    return ReportList(sorted(found, key=lambda report: (-report.modified, report.name)))


def read_report(folder: Path, name: str) -> ReportText:
    """Return a report by the name that `list_reports` gives it.

    Raises:
        BadRequest: there is none of this name, or it leads out of the folders of reports.
    """
    path = folder / name
    try:
        if not any(_is_inside(folder / one, path) for one in FOLDERS):
            raise BadRequest(f"{name!r} is not among the reports", help="see which there are: GET /v1/reports")
        if path.stat().st_size > REPORT_BYTES_MAX:
            raise BadRequest(f"{name!r} is over {REPORT_BYTES_MAX // 1024 // 1024} MiB", help=f"open it as a file: {path}")
        return ReportText(name, path.read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError) as error:
        raise BadRequest(f"no report {name!r} can be read: {error}", help="see which there are: GET /v1/reports") from None


def _is_inside(folder: Path, path: Path) -> bool:
    """Whether a path, whatever dots and links are in it, leads to something below a folder."""
    return path.resolve().is_relative_to(folder.resolve()) and path.resolve() != folder.resolve()
