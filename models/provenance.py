"""Where a result came from: the software, the machine and the data that made it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Provenance:
    """What must be the same for a run to give the same figures again."""

    dq: str
    python: str
    torch: str
    cuda: str | None
    device: str
    #: Of a GPU, by its maker; two GPUs of one kind may still differ.
    device_uuid: str | None
    host: str
    #: The commit of the checkout dq runs from; "-dirty" is appended if it has changes.
    git_commit: str | None
    #: SHA-256 over the content of the data set's arrays.
    dataset_hash: str
    threads: int
