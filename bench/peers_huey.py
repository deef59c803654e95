"""Bare Huey, with its processes rather than its threads."""

from huey import RedisHuey

from bench import peer_tasks

huey = RedisHuey("bench", url=peer_tasks.URL)
nothing = huey.task()(peer_tasks.do_nothing)
last = huey.task()(peer_tasks.note_time)
