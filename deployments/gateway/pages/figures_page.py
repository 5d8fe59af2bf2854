"""The page, and the file, of figures over incidents: how soon they are seen, answered, mended."""

from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, Response

from deployments.gateway.pages.look import page
from deployments.gateway.pages.page_route import PageRoute
from deployments.gateway.people import Caller, Reader
from tasks.domain.drawing import for_print
from tasks.domain.drill_trend import trend
from tasks.domain.incident_figures import FEWEST, as_csv, plain, summary
from tasks.work.figures import LONGEST, figures

router = APIRouter()
pages = APIRouter(route_class=PageRoute)

Days = Annotated[int, Query(ge=1, le=LONGEST.days)]
_HALF_A_YEAR = 183


@pages.get("/figures")
def figures_page(who: Caller, days: Days = _HALF_A_YEAR) -> HTMLResponse:
    """n, median, p90 and trend, with the drills of the same days as a plot."""
    found = figures(_since(days))
    return page(
        "figures.html.j2",
        who=who,
        days=days,
        rows=summary(found.incidents, found.drills),
        count=sum(not each.simulated for each in found.incidents),
        simulated=sum(each.simulated for each in found.incidents),
        fewest=FEWEST,
        plot=_image(trend(found.drills)),
    )


@router.get("/figures.csv")
def figures_csv(_: Reader, days: Days = _HALF_A_YEAR) -> Response:
    """One line an incident."""
    headers = {"Content-Disposition": 'attachment; filename="incidents.csv"'}
    return Response(as_csv(figures(_since(days)).incidents), media_type="text/csv", headers=headers)


@router.get("/figures.json")
def figures_json(_: Reader, days: Days = _HALF_A_YEAR) -> dict[str, Any]:
    """The summary, and the same lines as the CSV has."""
    found = figures(_since(days))
    return {
        "days": days,
        "summary": [plain(row) for row in summary(found.incidents, found.drills)],
        "csv": as_csv(found.incidents),
    }


def _image(svg: str) -> str:
    """As an image of its own: only there the page's policy lets the plot have its colours."""
    if not svg:
        return ""
    return "data:image/svg+xml;base64," + b64encode(for_print(svg).encode()).decode()


def _since(days: int) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)
