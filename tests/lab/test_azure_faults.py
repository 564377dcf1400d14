"""Faults on demand, and the request log."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import grpc
import pytest

from lab.azure import data_plane, faults
from lab.azure.cloud import Cloud
from tests.lab import azure_inputs as inputs
from tests.lab.driver import Driver, refused

BUNDLE = ("ca-key", "cert-chain", "ca-cert", "root-cert")


def _write(azure: Driver, *names: str) -> None:
    for name in names:
        azure.create(inputs.SECRET, inputs.secret(name), name=name)


def _written(cloud: Cloud) -> list[str]:
    return [row.id.rsplit("/", 1)[1] for row in cloud.requests("secrets/write")]


def test_the_log_keeps_the_order_of_writes(vault: Driver, cloud: Cloud) -> None:
    """One row per request, in the order of the commits."""
    _write(vault, *BUNDLE)
    assert _written(cloud) == list(BUNDLE)
    assert {row.operation for row in cloud.requests("/write")} == {
        "resourceGroups/write",
        "vaults/write",
        "accessPolicies/write",
        "secrets/write",
    }


def test_the_log_holds_refusals_under_their_code(vault: Driver, cloud: Cloud) -> None:
    """A refused write is a row, but not an `ok` one."""
    with refused():
        vault.create(inputs.SECRET, inputs.secret(value="x" * 30_000))
    assert _written(cloud) == []
    assert [row.outcome for row in cloud.requests("secrets/write", outcome=None)] == [
        "BadParameter"
    ]


def test_an_error_strikes_the_nth_call_and_changes_nothing(vault: Driver, cloud: Cloud) -> None:
    """The third secret is not written; the fourth is, for the fault has struck."""
    faults.error(cloud.directory, "secrets/write", "InternalServerError", "Try again.", first=3)
    _write(vault, *BUNDLE[:2])
    with refused() as refusals:
        _write(vault, BUNDLE[2])
    assert refusals[0].message == 'Status=500 Code="InternalServerError" Message="Try again."'
    assert refusals[0].code is grpc.StatusCode.ABORTED
    _write(vault, BUNDLE[3])
    assert _written(cloud) == ["ca-key", "cert-chain", "root-cert"]


def test_an_error_after_the_write_leaves_a_partial_state(vault: Driver, cloud: Cloud) -> None:
    """The PUT took place and its operation failed: the engine gets id, outputs and reason."""
    faults.error(cloud.directory, "managedClusters/write", "OperationFailed", "No.", after=True)
    with refused() as refusals:
        vault.create(inputs.CLUSTER, inputs.cluster())
    partial = refusals[0].partial
    assert partial is not None
    assert partial.id.endswith("/managedClusters/aks")
    assert partial.properties.fields["name"].string_value == "aks"
    assert list(partial.reasons) == ['Status=500 Code="OperationFailed" Message="No."']
    assert len(data_plane.mesh(cloud.directory)) == 1


def test_a_partial_secret_does_not_show_its_value(vault: Driver, cloud: Cloud) -> None:
    """Nor do the inputs that come with a partial state."""
    faults.error(cloud.directory, "secrets/write", "OperationFailed", "No.", after=True)
    with refused() as refusals:
        vault.create(inputs.SECRET, inputs.secret(value="s3cr3t"))
    assert refusals[0].partial is not None
    assert "s3cr3t" not in str(refusals[0])


def test_a_fault_can_be_for_one_resource(vault: Driver, cloud: Cloud) -> None:
    """The glob is over the id, without regard to case."""
    faults.error(cloud.directory, "secrets/write", "No", "No.", resource="*/CERT-chain")
    _write(vault, "ca-key")
    with refused():
        _write(vault, "cert-chain")


@pytest.mark.parametrize(
    ("status", "kind"), [(429, data_plane.Throttled), (503, data_plane.Unavailable)]
)
def test_the_data_plane_can_be_throttled(
    status: int, kind: type[Exception], vault: Driver, state: Path
) -> None:
    """Every read is refused until the fault is cleared."""
    _write(vault, "ca-key")
    fault = faults.throttle(state, status=status)
    for _ in range(2):
        with pytest.raises(kind):
            data_plane.read_secret(state, vault="kv-1", name="ca-key", principal=inputs.CALLER)
    assert faults.all_(state)[0].calls == 2
    assert fault == faults.all_(state)[0].number
    faults.clear(state)
    assert data_plane.read_secret(state, vault="kv-1", name="ca-key", principal=inputs.CALLER)


def test_a_paused_write_is_there_but_unanswered(vault: Driver, cloud: Cloud) -> None:
    """Others see the write while its caller still waits; released, the caller goes on."""
    state = cloud.directory
    fault = faults.pause(state, "secrets/write", first=2)
    writer = threading.Thread(target=_write, args=(vault, *BUNDLE))
    writer.start()
    try:
        assert faults.wait_until_struck(state, fault)
        while len(_written(cloud)) < 2:
            pass
        assert _written(cloud) == ["ca-key", "cert-chain"]
        assert writer.is_alive()
    finally:
        faults.release(state, fault)
        writer.join(timeout=30)
    assert _written(cloud) == list(BUNDLE)


def test_a_pause_before_the_write_holds_the_write(vault: Driver, cloud: Cloud) -> None:
    """Nothing is written until released."""
    state = cloud.directory
    fault = faults.pause(state, "secrets/write", after=False)
    writer = threading.Thread(target=_write, args=(vault, "ca-key"))
    writer.start()
    try:
        assert faults.wait_until_struck(state, fault)
        assert _written(cloud) == []
    finally:
        faults.clear(state)
        writer.join(timeout=30)
    assert _written(cloud) == ["ca-key"]


def test_a_process_can_be_killed_after_the_nth_write(vault: Driver, cloud: Cloud) -> None:
    """The write is committed, the process is gone."""
    victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    faults.kill(cloud.directory, "secrets/write", first=2, process=victim.pid)
    _write(vault, "ca-key")
    assert victim.poll() is None
    _write(vault, "cert-chain")
    assert victim.wait(timeout=30) == -signal.SIGKILL
    assert _written(cloud) == ["ca-key", "cert-chain"]


def test_the_command_line_sets_and_clears_faults(state: Path) -> None:
    """`python -m lab.azure.faults` does what the functions do."""
    run = [sys.executable, "-m", "lab.azure.faults"]
    environment = {**os.environ, "LAB_STATE": str(state)}
    subprocess.run(
        [*run, "error", "secrets/write", "--first", "3", "--code", "X", "--after"],
        check=True,
        env=environment,
        capture_output=True,
    )
    fault = faults.all_(state)[0]
    assert (fault.operation, fault.first, fault.times) == ("secrets/write", 3, 1)
    assert (fault.effect.code, fault.effect.after) == ("X", True)
    subprocess.run([*run, "clear"], check=True, env=environment)
    assert faults.all_(state) == []


def test_processes_may_write_at_the_same_time(vault: Driver, cloud: Cloud) -> None:
    """Writers wait for each other; none is lost."""
    names = [f"s{number}" for number in range(24)]
    threads = [threading.Thread(target=_write, args=(vault, name)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(_written(cloud)) == sorted(names)


def test_processes_may_begin_at_the_same_time(state: Path) -> None:
    """Plug-ins that find no cloud make one, together, and none of them fails."""
    code = "import sys; from pathlib import Path; from lab.azure.cloud import Cloud\n"
    code += "with Cloud(Path(sys.argv[1])).request('vaults/read', 'x'): pass"
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(state)], stderr=subprocess.PIPE)
        for _ in range(6)
    ]
    assert [process.communicate(timeout=60)[1] for process in processes] == [b""] * 6
    assert len(Cloud(state).requests("vaults/read")) == 6


def test_a_store_of_another_version_is_refused(state: Path) -> None:
    """A file with other tables is an error that names it, not a surprise later."""
    Cloud(state)
    with closing(sqlite3.connect(state / "cloud.sqlite")) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(RuntimeError, match=r"cloud\.sqlite: made by another version of the lab"):
        Cloud(state)
