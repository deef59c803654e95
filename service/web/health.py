"""Health checks and metrics, for what starts and monitors the server."""

from fastapi import APIRouter, Response
from pydantic import BaseModel
from redis import Redis
from redis.exceptions import RedisError

from models.errors import DqError
from models.settings import Settings
from models.urls import for_redis_py
from service.operations.metrics import CONTENT_TYPE, render
from service.web.context import Context, ContextParam

router = APIRouter(tags=["health"])

_TIMEOUT_SECONDS = 2.0


class Health(BaseModel):
    """The server is alive."""

    status: str


class Readiness(BaseModel):
    """For each service that the server needs, "ok" or what is wrong."""

    database: str
    redis: str


@router.get("/healthz")
async def healthz() -> Health:
    """Say that the server is alive."""
    return Health(status="ok")


@router.get("/readyz", responses={503: {"model": Readiness, "description": "Something is down"}})
def readyz(context: ContextParam, response: Response) -> Readiness:
    """Say whether the database takes writes and Redis answers."""
    readiness = Readiness(database=_check_database(context), redis=_check_redis(context.settings))
    if {readiness.database, readiness.redis} != {"ok"}:
        response.status_code = 503
    return readiness


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(context: ContextParam) -> Response:
    """Return metrics of the queue, attempts, reconcilers and GPUs for Prometheus."""
    return Response(render(context.database), media_type=CONTENT_TYPE)


def _check_database(context: Context) -> str:
    try:
        context.database.check_schema()
        context.database.check_writable()
    except DqError as error:
        return str(error)
    return "ok"


def _check_redis(settings: Settings) -> str:
    """Ping Redis; the embedded one need not run, since a submit starts it."""
    if settings.is_broker_embedded:
        return "ok"
    url, timeout = for_redis_py(settings.redis_url), _TIMEOUT_SECONDS
    try:
        with Redis.from_url(url, socket_timeout=timeout, socket_connect_timeout=timeout) as redis:
            redis.ping()
    except (RedisError, OSError, ValueError) as error:
        return f"Redis does not answer: {type(error).__name__}"
    return "ok"
