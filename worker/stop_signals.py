"""The signals by which the processes of a worker stop each other."""

import signal

#: Ends a Celery process after its current job; SIGTERM has it give the job back.
DRAIN_SIGNAL = signal.SIGINT
#: By this signal the Celery process tells its child to give its job back.
RELEASE_SIGNAL = signal.SIGUSR2
