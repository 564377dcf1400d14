"""The real Pulumi engine: `pulumi` from PATH when it is new enough, else built from its Go module.

And what it needs to run the program on the local cloud: the plug-ins' folders, a language host
where the CLI brought none, and the environment that isolates it all under `.lab/`.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from lab import layout, programs

OLDEST = (3, 259, 0)
SDK = "github.com/pulumi/pulumi/sdk/v3"

PLUGINS = {
    "azure-native": "pulumi-azure-native",
    "kubernetes": "pulumi-kubernetes",
    "tls": "pulumi-tls",
}
"""Plug-in -> the Python package whose version its folder must carry."""

PASSPHRASE = "lab"
"""Protects nothing but the local cloud's own state; `Pulumi.dev.yaml` carries its salt."""


def on_path() -> Path | None:
    """A `pulumi` on PATH that is new enough and not the lab's own; None when there is none."""
    found = shutil.which("pulumi", path=_foreign_path())
    if found is None:
        return None
    answer = subprocess.run([found, "version"], capture_output=True, text=True, check=False)
    numbers = re.match(r"v?(\d+)\.(\d+)\.(\d+)", answer.stdout.strip())
    if numbers and tuple(map(int, numbers.groups())) >= OLDEST:
        return Path(found)
    return None


def _foreign_path() -> str:
    parts = os.environ.get("PATH", "").split(os.pathsep)
    return os.pathsep.join(part for part in parts if Path(part) != layout.BIN)


def prepare() -> Path:
    """The engine, built if need be, with everything it needs in place. Idempotent; returns it.

    Building takes minutes the first time and needs Go; a second call takes milliseconds.
    """
    layout.BIN.mkdir(parents=True, exist_ok=True)
    engine = on_path()
    if engine is None:
        engine = programs.ensure(["pulumi"])["pulumi"]
        _launcher(
            layout.BIN / "pulumi-language-python",
            "lab.language_host",
            {"LAB_LANGUAGE_ENTRY": str(_language_entry())},
        )
    for plugin, package in PLUGINS.items():
        folder = layout.HOME / "plugins" / f"resource-{plugin}-v{version(package)}"
        module = f"lab.{plugin.removesuffix('-native')}"
        _launcher(folder / f"pulumi-resource-{plugin}", module, {})
    layout.BACKEND.mkdir(exist_ok=True)
    layout.STATE.mkdir(mode=0o700, exist_ok=True)
    return engine


def environment(*, state: Path = layout.STATE, backend: Path = layout.BACKEND) -> Mapping[str, str]:
    """The variables that make `pulumi` run on the local cloud whose state is in `state`."""
    return {
        "LAB_STATE": str(state),
        "PULUMI_HOME": str(layout.HOME),
        "PULUMI_BACKEND_URL": f"file://{backend}",
        "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    }


def write_environment() -> None:
    """Writes `.lab/env`, to be sourced by a shell."""
    lines = [f"export {name}='{value}'" for name, value in environment().items()]
    lines.append(f'export PATH="{layout.BIN}:{layout.PYTHON.parent}:$PATH"')
    layout.ENVIRONMENT.write_text("\n".join(lines) + "\n")


def _language_entry() -> Path:
    """The SDK's own script that starts a program; it ships inside the Go module."""
    entry = layout.BIN / "pulumi-language-python-exec"
    if not entry.exists():
        found = subprocess.run(
            ["go", "list", "-m", "-f", "{{.Dir}}", SDK],
            cwd=layout.TOOLS / "pulumi",
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        sdk = Path(found.stdout.strip())
        shutil.copyfile(sdk / "python/cmd/pulumi-language-python-exec", entry)
    return entry


def _launcher(path: Path, module: str, variables: Mapping[str, str]) -> None:
    """A script that runs one of the lab's modules with the checkout's interpreter."""
    exports = "".join(f"export {name}='{value}'\n" for name, value in variables.items())
    script = (
        f"#!/bin/sh\n{exports}export PYTHONPATH='{layout.ROOT}'\n"
        f"exec '{layout.PYTHON}' -m {module} \"$@\"\n"
    )
    if path.exists() and path.read_text() == script:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script)
    path.chmod(0o755)
