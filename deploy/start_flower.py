"""Start Flower on dq's queue; its address and password go in here, not on a command line."""

from pathlib import Path

from celery import Celery

from models.message import celery_settings
from models.settings import Settings

app = Celery("dq")
app.conf.update(celery_settings(Settings.load().redis_url, socket_timeout=10))
token = Path("/run/secrets/web_token").read_text().strip()
app.start(["flower", "--address=0.0.0.0", "--port=5555", f"--basic-auth=dq:{token}"])
