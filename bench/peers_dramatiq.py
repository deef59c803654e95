"""Bare Dramatiq."""

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from bench import peer_tasks

dramatiq.set_broker(RedisBroker(url=peer_tasks.URL))
nothing = dramatiq.actor(peer_tasks.do_nothing)
last = dramatiq.actor(peer_tasks.note_time)
