"""Start Flower on dq's queue; its address and password go in here, not on a command line."""

from celery import Celery

from models.message import celery_settings
from models.settings import Settings

app = Celery("dq")
settings = Settings.load()
app.conf.update(celery_settings(settings.redis_url, socket_timeout=10))
app.start(["flower", "--address=0.0.0.0", "--port=5555", f"--basic-auth=dq:{settings.token}"])
