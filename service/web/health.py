"""Whether the server lives, and whether it can serve: for whoever starts and watches it."""

from fastapi import APIRouter, Response
from pydantic import BaseModel
from redis import Redis
from redis.exceptions import RedisError

from models.errors import DqError
from models.settings import Settings
from models.urls import for_redis_py
from service.operations.metrics import CONTENT_TYPE, render
from service.web.context import Here, Ours

router = APIRouter(tags=["health"])

_SECONDS = 2.0


class Health(BaseModel):
    """It answers."""

    status: str


class Readiness(BaseModel):
    """Whether what it needs answers: "ok", or what is wrong."""

    database: str
    redis: str


@router.get("/healthz")
async def healthz() -> Health:
    """Tell that the server lives."""
    return Health(status="ok")


@router.get("/readyz", responses={503: {"model": Readiness, "description": "Something is down"}})
def readyz(here: Ours, response: Response) -> Readiness:
    """Tell whether the database takes writes and Redis answers."""
    found = Readiness(database=_ask_database(here), redis=_ask_redis(here.settings))
    if {found.database, found.redis} != {"ok"}:
        response.status_code = 503
    return found


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(here: Ours) -> Response:
    """Tell Prometheus of the queue, the attempts, the reconcilers and the GPUs."""
    return Response(render(here.database), media_type=CONTENT_TYPE)


def _ask_database(here: Here) -> str:
    try:
        here.database.check_schema()
        here.database.check_writable()
    except DqError as error:
        return str(error)
    return "ok"


def _ask_redis(settings: Settings) -> str:
    """Ask Redis; the embedded one need not run, since a submit starts it."""
    if settings.is_broker_embedded:
        return "ok"
    url = for_redis_py(settings.redis_url)
    try:
        with Redis.from_url(url, socket_timeout=_SECONDS, socket_connect_timeout=_SECONDS) as it:
            it.ping()
    except (RedisError, OSError, ValueError) as error:
        return f"Redis does not answer: {type(error).__name__}"
    return "ok"
