"""The files that pages need: our style sheet and script, and plotly.js from its package."""

import gzip
import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Scope

FOLDER = Path(__file__).parent / "static"
PLOTLY_PATH = f"/static/{version('plotly')}/plotly.min.js"


class _ImmutableFiles(StaticFiles):
    """Files that browsers may keep for ever: their URL changes with their content."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return a file, compressed for a browser that takes gzip."""
        response = await super().get_response(path, scope)
        accepted = Headers(scope=scope).get("accept-encoding", "")
        if "gzip" in accepted and isinstance(response, FileResponse):
            content = await run_in_threadpool(_compress, str(response.path))
            headers = {"content-encoding": "gzip", "etag": response.headers["etag"]}
            response = Response(content, headers=headers, media_type=response.media_type)
        response.headers["cache-control"] = "public, max-age=31536000, immutable"
        response.headers["vary"] = "accept-encoding"
        return response


@cache
def _compress(path: str) -> bytes:
    """Compress a file once; GZipMiddleware would take 0.3 s for each response with plotly.js."""
    return gzip.compress(Path(path).read_bytes(), compresslevel=6, mtime=0)


def make_static_app() -> ASGIApp:
    """Return the application to mount at /static/VERSION."""
    return _ImmutableFiles(directory=FOLDER, packages=[("plotly", "package_data")])


def fingerprint() -> str:
    """Return what changes whenever one of our files does."""
    content = b"".join(path.read_bytes() for path in sorted(FOLDER.iterdir()))
    return hashlib.sha256(content).hexdigest()[:12]
