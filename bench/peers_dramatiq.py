"""Bare Dramatiq."""

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from bench import peers

dramatiq.set_broker(RedisBroker(url=peers.URL))
nothing = dramatiq.actor(peers.do_nothing)
when = dramatiq.actor(peers.say_when)
