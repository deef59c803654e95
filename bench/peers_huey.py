"""Bare Huey, with its processes rather than its threads."""

from huey import RedisHuey

from bench import peers

huey = RedisHuey("bench", url=peers.URL)
nothing = huey.task()(peers.do_nothing)
when = huey.task()(peers.say_when)
