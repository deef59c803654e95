"""The files that pages need: our style and script, and plotly.js out of its wheel."""

import gzip
import hashlib
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

from service.extras import needing

FOLDER = Path(__file__).parent / "static"
_TYPES = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
_FOR_EVER = "public, max-age=31536000, immutable"

router = APIRouter(include_in_schema=False)


@router.get("/static/{mark}/{name}")
def read_static(mark: str, name: str, request: Request) -> Response:
    """Return a file; its URL changes with its content, so it may be kept for ever."""
    if name == "plotly.js":
        return _send(request, _compress(str(_find_plotly())), "text/javascript")
    if name not in _TYPES:
        raise HTTPException(404, f"There is no file {name}.")
    return _send(request, _compress(str(FOLDER / name)), _TYPES[name])


def fingerprint() -> str:
    """Return what changes whenever one of our files does."""
    whole = b"".join((FOLDER / name).read_bytes() for name in sorted(_TYPES))
    return hashlib.sha256(whole).hexdigest()[:12]


def _send(request: Request, packed: bytes, kind: str) -> Response:
    headers = {"cache-control": _FOR_EVER, "vary": "accept-encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(packed, headers={**headers, "content-encoding": "gzip"}, media_type=kind)
    return Response(gzip.decompress(packed), headers=headers, media_type=kind)


@cache
def _compress(path: str) -> bytes:
    return gzip.compress(Path(path).read_bytes(), compresslevel=6, mtime=0)


def _find_plotly() -> Path:
    """Return the script within the installed package, which is not imported: that is slow."""
    found = find_spec("plotly")
    with needing("plotly", "web", "The page"):
        if found is None or found.origin is None:
            raise ModuleNotFoundError("plotly")
    return Path(found.origin).parent / "package_data" / "plotly.min.js"


PLOTLY_PATH = f"/static/{version('plotly')}/plotly.js"
