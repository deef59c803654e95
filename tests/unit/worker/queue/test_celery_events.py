from models.settings import Settings
from servers import RedisServer
from worker.queue.app import make_app


def test_events_that_redis_refuses_do_not_pile_up(redis: RedisServer):
    app = make_app(Settings(broker_url=redis.url_without_dangerous()))

    with app.connection_for_write() as connection:
        dispatcher = app.events.Dispatcher(connection, enabled=True, buffer_group=())
        for _ in range(50):
            dispatcher.send("worker-heartbeat", freq=2)

    assert len(dispatcher._outbound_buffer) == 10
