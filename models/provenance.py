"""What a result was made with: software, machine and data."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Provenance:
    """What must be the same for a run to give the same metrics again."""

    dq: str
    python: str
    torch: str
    cuda: str | None
    device: str
    #: A GPU's, as its maker set it; two GPUs of one model may differ in results.
    device_uuid: str | None
    host: str
    #: The commit of the checkout dq runs from; "-dirty" is appended if it has changes.
    git_commit: str | None
    #: SHA-256 over the content of the data set's arrays.
    dataset_hash: str
    threads: int
