"""Where the gateway describes itself: the OpenAPI document, and a page that shows it with nothing from elsewhere."""

from importlib.resources import files

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from bellhop_gateway.openapi import document

# The page runs its own script and style, and asks for the document beside it: nothing else.
_POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'"
_KINDS = {"docs.js": "text/javascript", "docs.css": "text/css"}


def routes(*, signs_in: bool) -> list[Route]:
    """Their routes. `signs_in`: whether there are signed-in users."""

    async def openapi(request: Request) -> Response:
        root = request.scope.get("root_path", "")
        return JSONResponse(document(signs_in=signs_in) | {"servers": [{"url": root or "/"}]})

    return [Route("/openapi.json", openapi), Route("/docs", _page), Route("/docs/{name}", _part)]


async def _page(request: Request) -> Response:
    page = _text("docs.html").replace("{root}", request.scope.get("root_path", ""))
    return HTMLResponse(page, headers={"content-security-policy": _POLICY, "x-content-type-options": "nosniff"})


async def _part(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _KINDS:
        return Response(status_code=404)
    return Response(_text(name), media_type=_KINDS[name])


def _text(name: str) -> str:
    return (files("bellhop_gateway") / "pages" / name).read_text("utf-8")
