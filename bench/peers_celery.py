"""Bare Celery: no result backend, as dq has none, and otherwise its defaults."""

from celery import Celery

from bench import peer_tasks

app = Celery("bench", broker=peer_tasks.URL.replace("unix://", "redis+socket://"))
app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True)
nothing = app.task(peer_tasks.do_nothing, name="bench.nothing")
last = app.task(peer_tasks.note_time, name="bench.last")
