"""The stand-ins' own parts, without a cluster: what they keep of the real ones' behaviour."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.azure import faults, seed
from lab.azure.cloud import Cloud
from lab.mesh import csi, files, istiod_log, logs, processes
from tests.mesh.local_cloud import GROUP, VAULT, WRITE_ORDER, LocalCloud

OBJECTS = tuple((name, f"{name}.pem") for name in WRITE_ORDER)


@pytest.fixture
def driver(tmp_path: Path) -> csi.Driver:
    """Return a CSI driver whose cluster may read four secrets of the text `old`."""
    cloud = LocalCloud(tmp_path)
    cloud.grant()
    cloud.write(dict.fromkeys(WRITE_ORDER, "old"))
    return csi.Driver(tmp_path, cloud.cluster.id, poll=float("inf"))


def _mount(driver: csi.Driver, folder: Path) -> csi.Mount:
    return driver.mount("ns/pod", folder, csi.SecretProviderClass(VAULT, OBJECTS))


def test_a_poll_reads_one_secret_after_the_other(driver: csi.Driver, tmp_path: Path) -> None:
    """One get per object, in the order of the SecretProviderClass."""
    _mount(driver, tmp_path / "cacerts")
    read = [each.id.rpartition("/")[2] for each in Cloud(tmp_path).requests("secrets/get")]
    assert read == list(WRITE_ORDER)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_one_failed_get_fails_the_round_and_keeps_the_files(
    driver: csi.Driver, tmp_path: Path, number: int
) -> None:
    """Whichever of the four gets fails, no file changes, though the others have new values."""
    mount = _mount(driver, tmp_path / "cacerts")
    for name in WRITE_ORDER:
        seed.secret(tmp_path, GROUP, VAULT, name, "new")
    faults.throttle(tmp_path, first=number, times=1)
    assert "429" in (mount.poll().error or "")
    assert set(files.read(mount.directory).values()) == {"old"}
    assert mount.poll().changed
    assert set(files.read(mount.directory).values()) == {"new"}


def test_an_unchanged_poll_touches_nothing(driver: csi.Driver, tmp_path: Path) -> None:
    """No event reaches istiod's watcher when the vault holds what it held."""
    mount = _mount(driver, tmp_path / "cacerts")
    before = (mount.directory / "..data").readlink()
    assert not mount.poll().changed
    assert (mount.directory / "..data").readlink() == before


_SETS = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.text("xyz", max_size=3), min_size=1)


@given(st.lists(_SETS, min_size=1, max_size=4))
def test_the_atomic_writer_shows_the_last_set_and_leaves_no_other(
    tmp_path_factory: pytest.TempPathFactory, written: list[dict[str, str]]
) -> None:
    """After any sequence of sets, links, `..data` and one folder show exactly the last set."""
    folder = tmp_path_factory.mktemp("volume")
    for each in written:
        files.write_atomically(folder, each)
    shown = {path.name: path.read_text() for path in folder.iterdir() if path.name[0] != "."}
    assert shown == written[-1] == files.read(folder)
    assert len([path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()]) == 1


def test_files_of_a_volume_are_for_their_owner_only(tmp_path: Path) -> None:
    """The CA's key is laid with mode 0600 in folders of mode 0700."""
    files.write_atomically(tmp_path / "volume", {"ca-key.pem": "key"})
    real = (tmp_path / "volume" / "ca-key.pem").resolve()
    modes = [oct(path.stat().st_mode & 0o777) for path in (real, real.parent, real.parent.parent)]
    assert modes == ["0o600", "0o700", "0o700"]


def test_a_sweep_spares_a_process_that_is_not_the_labs(tmp_path: Path) -> None:
    """A pid file whose process id now belongs to somebody else kills nobody."""
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        (tmp_path / "etcd.pid").write_text(f"{stranger.pid}\n")
        assert processes.sweep(tmp_path) == []
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.communicate()
    assert list(tmp_path.glob("*.pid")) == []


def test_a_sweep_ends_what_a_program_has_started(tmp_path: Path) -> None:
    """When a program has died and its own child lives, the pid file still leads to the child."""
    script = (
        "import subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    )
    program = processes.Process(
        "agent",
        [sys.executable, "-c", script],
        run=tmp_path,
        log=tmp_path / "log",
        directory=tmp_path,
        environment=dict(os.environ),
    )
    for _ in range(500):
        if program.exit_code is not None:
            break
        time.sleep(0.02)
    assert program.exit_code == 0
    assert processes.sweep(tmp_path) == ["agent"]
    assert processes.living(tmp_path) == {}


LOG = """\
2026-11-24T10:00:00.000000Z\tinfo\tx509 cert - Issuer: "CN=I1", Subject: "", SN: a1, NotBefore: ""
2026-11-24T10:00:00.000001Z\tinfo\tx509 cert - Issuer: "CN=R", Subject: "CN=I1", SN: 1, NotBefore:
2026-11-24T10:00:00.000002Z\tinfo\tIstiod certificates are reloaded
2026-11-24T10:00:09.000000Z\terror\tFailed to update new Plug-in CA certs: no match
2026-11-24T10:01:00.000000Z\tinfo\tx509 cert - Issuer: "CN=I2", Subject: "", SN: a2, NotBefore: ""
2026-11-24T10:01:00.000001Z\tinfo\tx509 cert - Issuer: "CN=R", Subject: "CN=I1", SN: 1, NotBefore:
2026-11-24T10:01:00.000002Z\tinfo\tx509 cert - Issuer: "CN=R", Subject: "CN=I2", SN: 2, NotBefore:
2026-11-24T10:01:00.000003Z\tinfo\tIstiod certificates are reloaded
"""


def test_the_signer_is_the_issuer_of_istiods_leaf_wherever_it_is_in_the_chain(
    tmp_path: Path,
) -> None:
    """With two issuers in the chain file, the one that signs is told by the leaf's issuer."""
    log = tmp_path / "discovery.log"
    log.write_text(LOG)
    assert istiod_log.signer(log) == "2"
    assert len(istiod_log.refusals(log)) == 1


def test_a_log_is_cut_by_its_own_times_and_by_lines() -> None:
    """`sinceTime` and `tailLines` of `kubectl logs` select as the real kubelet does."""
    late = logs.select(LOG.encode(), {"sinceTime": "2026-11-24T10:00:30Z"})
    assert late.decode().splitlines() == LOG.splitlines()[4:]
    assert logs.select(LOG.encode(), {"tailLines": "1"}).decode() == LOG.splitlines(True)[-1]
