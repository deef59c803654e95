import pytest

from models.errors import DqError, UsageError
from worker.supervisor import devices as module
from worker.supervisor.devices import Device, Gpu, choose_devices, visible_gpus

GIB = 2**30


@pytest.fixture
def cores(monkeypatch):
    """Return a function that sets how many cores the host seems to have."""

    def set_cores(count):
        monkeypatch.setattr(module.os, "sched_getaffinity", lambda _: set(range(count)))

    set_cores(8)
    return set_cores


def gpu(name, number, free=70 * GIB):
    return Gpu(name, f"GPU-{number}", free, 80 * GIB)


@pytest.fixture
def filled(monkeypatch):
    """Return a function that sets how many GiB of each GPU seem to be free."""

    def set_free(*sizes):
        found = [gpu("H100", number, int(size * GIB)) for number, size in enumerate(sizes)]
        monkeypatch.setattr(module, "visible_gpus", lambda: found)

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return set_free


@pytest.fixture
def gpus(monkeypatch):
    """Return a function that sets which GPUs torch seems to see."""

    def set_gpus(*names):
        found = [gpu(name, number) for number, name in enumerate(names)]
        monkeypatch.setattr(module, "visible_gpus", lambda: found)

    set_gpus()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return set_gpus


def variables(found, name):
    return [device.environment[name] for device in found]


def test_without_a_gpu_auto_is_the_cpu(cores, gpus):
    cores(2)

    found = choose_devices("auto", None)

    one_core = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    assert found == [Device("cpu0", "cpu", one_core), Device("cpu1", "cpu", one_core)]


@pytest.mark.parametrize(
    ("cores_there", "processes", "count"),
    [(1, None, 1), (3, None, 3), (8, None, 4), (64, None, 4), (8, 1, 1), (8, 3, 3), (2, 5, 5)],
)
def test_on_the_cpu_there_is_a_process_a_core_or_as_many_as_asked_for(
    cores, gpus, cores_there, processes, count
):
    cores(cores_there)

    found = choose_devices("cpu", processes)

    assert [device.name for device in found] == [f"cpu{index}" for index in range(count)]


@pytest.mark.parametrize("processes", [None, 1, 2])
def test_a_cpu_process_has_one_thread_always_so_that_its_figures_are_the_same_everywhere(
    cores, gpus, processes
):
    cores(64)

    found = choose_devices("cpu", processes)

    assert set(variables(found, "OMP_NUM_THREADS")) == {"1"}


def test_with_gpus_there_is_a_process_for_each_and_it_sees_no_other(cores, gpus):
    gpus("H100", "H100")

    found = choose_devices("auto", None)

    assert [(each.name, each.model) for each in found] == [
        ("cuda0", "H100"),
        ("cuda1", "H100"),
    ]
    assert variables(found, "CUDA_VISIBLE_DEVICES") == ["0", "1"]


@pytest.mark.parametrize("visible", ["3,1", "GPU-8932f937,GPU-1a2b3c4d", "MIG-1,MIG-2"])
def test_a_choice_of_gpus_by_the_user_is_kept(cores, gpus, monkeypatch, visible):
    gpus("A100", "H100")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    found = choose_devices("cuda", None)

    assert variables(found, "CUDA_VISIBLE_DEVICES") == visible.split(",")


def test_gpus_that_torch_does_not_see_get_no_process(cores, gpus, monkeypatch):
    # CUDA itself stops reading the list at the first number that is no GPU.
    gpus("A100")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,-1,3")

    found = choose_devices("auto", None)

    assert variables(found, "CUDA_VISIBLE_DEVICES") == ["2"]


def test_on_request_the_cpu_is_used_although_there_are_gpus_and_torch_sees_none(cores, gpus):
    gpus("H100")

    found = choose_devices("cpu", 1)

    assert [device.model for device in found] == ["cpu"]
    assert variables(found, "CUDA_VISIBLE_DEVICES") == [""]


def test_a_gpu_is_named_by_its_uuid_too_and_a_core_has_none(cores, gpus):
    gpus("H100", "H100")

    assert [device.uuid for device in choose_devices("auto", None)] == ["GPU-0", "GPU-1"]
    assert choose_devices("cpu", 1)[0].uuid is None


def test_of_several_gpus_those_are_taken_that_were_chosen(cores, gpus, monkeypatch):
    gpus("A100", "B200", "H100")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,6,7")

    found = choose_devices("auto", None, (2, 0))

    assert [(each.name, each.model) for each in found] == [
        ("cuda2", "H100"),
        ("cuda0", "A100"),
    ]
    assert variables(found, "CUDA_VISIBLE_DEVICES") == ["7", "5"]


def test_a_chosen_gpu_that_is_not_there_is_a_usage_error(cores, gpus):
    gpus("H100", "H100")

    with pytest.raises(UsageError, match="There is no GPU 2: torch sees 0 to 1"):
        choose_devices("auto", None, (0, 2))


def test_chosen_gpus_where_there_are_none_are_a_usage_error(cores, gpus):
    with pytest.raises(UsageError, match="torch sees no GPU here"):
        choose_devices("auto", None, (0,))


def test_a_gpu_that_others_fill_is_left_to_them_with_the_reason(cores, filled, caplog):
    filled(70, 1.9, 2)

    found = choose_devices("auto", None)

    assert [device.name for device in found] == ["cuda0", "cuda2"]
    assert caplog.messages == [
        "GPU 1 (H100, GPU-1) is not taken: 1.9 of 80.0 GiB are free, a worker needs 2. "
        "Type: nvidia-smi, to see what fills it"
    ]


def test_a_chosen_gpu_that_others_fill_is_refused_with_the_reason(cores, filled):
    filled(70, 0.5)

    with pytest.raises(DqError, match=r"GPU 1 \(H100, GPU-1\) is not taken: 0.5 of 80.0 GiB"):
        choose_devices("auto", None, (0, 1))


def test_where_all_gpus_are_filled_no_worker_starts_on_the_cpu_instead(cores, filled):
    filled(0.5, 1)

    with pytest.raises(DqError, match=r"GPU 0 .*\n.*GPU 1 "):
        choose_devices("auto", None)


def test_cuda_where_there_is_none_is_a_usage_error_that_says_what_to_type(cores, gpus):
    with pytest.raises(UsageError, match=r"torch sees no GPU here.*dq worker --device cpu"):
        choose_devices("cuda", None)


@pytest.mark.slow
def test_torch_is_asked_for_its_gpus_in_a_process_of_its_own(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")

    assert visible_gpus() == []


@pytest.fixture
def python(monkeypatch, tmp_path):
    """Return a function that sets the shell script that runs in place of Python."""
    script = tmp_path / "python"
    monkeypatch.setattr(module.sys, "executable", str(script))

    def set_script(*lines):
        script.write_text("\n".join(["#!/bin/sh", *lines, ""]))
        script.chmod(0o755)

    return set_script


def test_the_error_of_a_torch_that_does_not_start_quotes_its_last_line(python):
    python("echo first >&2", "echo ImportError: no libcudart >&2", "exit 1")

    with pytest.raises(DqError, match="torch does not start: ImportError: no libcudart"):
        visible_gpus()


def test_a_torch_that_dies_without_a_word_is_an_error_too(python):
    python("kill -SEGV $$")

    with pytest.raises(DqError, match="torch does not start"):
        visible_gpus()
