"""A Python language host for a Pulumi CLI that was built from its Go module.

The official CLI ships `pulumi-language-python` beside it; the Go module does not, so the lab puts
a program of that name on PATH: this one. It starts the program, and policy packs, with the
interpreter it runs under, through the SDK's own entry script.

Protocol: pulumi/language.proto, stubs in `pulumi.runtime.proto`. The first line on standard output
is the port; the engine stops the process.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2

from lab.lifetime import Lifetime

ALREADY_REPORTED = 32
"""The exit code by which the entry script says that it has shown its own message."""


class LanguageHost(language_pb2_grpc.LanguageRuntimeServicer):
    """Runs Python programs and analyzers for the engine at `engine`."""

    def __init__(self, engine: str, entry: str) -> None:
        self.engine = engine
        self.entry = entry

    def Handshake(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Answers that nothing needs to be agreed on."""
        self.engine = request.engine_address or self.engine
        return language_pb2.LanguageHandshakeResponse()

    def GetPluginInfo(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """The host's version: any will do, the engine does not compare it."""
        return plugin_pb2.PluginInfo(version="1.0.0")

    def GetRequiredPackages(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """None: the lab's plug-ins are in place before the engine starts."""
        return language_pb2.GetRequiredPackagesResponse()

    def GetRequiredPlugins(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """None, for the same reason."""
        return language_pb2.GetRequiredPluginsResponse()

    def About(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """What `pulumi about` shows."""
        return language_pb2.AboutResponse(
            executable=sys.executable, version=sys.version.split(maxsplit=1)[0]
        )

    def InstallDependencies(  # noqa: N802
        self, request: Any, context: grpc.ServicerContext
    ) -> Iterator[Any]:
        """Nothing: `make setup` has installed requirements.txt."""
        yield from ()

    def GetProgramDependencies(  # noqa: N802
        self, request: Any, context: grpc.ServicerContext
    ) -> Any:
        """None: only the service's console shows them."""
        return language_pb2.GetProgramDependenciesResponse()

    def Run(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Runs the program to its end and says how it ended."""
        command = [sys.executable, "-u", self.entry]
        options = {
            "--project": request.project,
            "--stack": request.stack,
            "--pwd": request.info.program_directory or request.pwd,
            "--parallel": str(request.parallel),
            "--dry_run": "true" if request.dryRun else "false",
            "--monitor": request.monitor_address,
            "--engine": self.engine,
            "--organization": request.organization,
            "--root_directory": request.info.root_directory,
        }
        for flag, value in options.items():
            if value:
                command += [flag, value]
        environment = os.environ | {
            "PULUMI_CONFIG": json.dumps(dict(request.config)),
            "PULUMI_CONFIG_SECRET_KEYS": json.dumps(list(request.configSecretKeys)),
        }
        entry_point = request.info.entry_point or "."
        with subprocess.Popen([*command, entry_point, *request.args], env=environment) as program:
            context.add_callback(program.terminate)
            code = program.wait()
        if code == ALREADY_REPORTED:
            return language_pb2.RunResponse(bail=True)
        if code:
            return language_pb2.RunResponse(error=f"program exited with non-zero exit code: {code}")
        return language_pb2.RunResponse()

    def RunPlugin(  # noqa: N802
        self, request: Any, context: grpc.ServicerContext
    ) -> Iterator[Any]:
        """Runs a policy pack and relays what it prints: its first line is its port."""
        if request.kind != "analyzer":
            context.abort(
                grpc.StatusCode.UNIMPLEMENTED, f"a plug-in of kind {request.kind} is not run here"
            )
        command = [sys.executable, "-u", "-m", "pulumi.policy", *request.args]
        environment = os.environ | dict(item.split("=", 1) for item in request.env)
        with subprocess.Popen(
            [*command, request.info.program_directory],
            env=environment,
            cwd=request.pwd or None,
            stdout=subprocess.PIPE,
            stderr=sys.stderr,
        ) as pack:
            context.add_callback(pack.terminate)
            assert pack.stdout is not None
            for line in pack.stdout:
                yield language_pb2.RunPluginResponse(stdout=line)
            yield language_pb2.RunPluginResponse(exitcode=pack.wait())


def serve(engine: str, entry: str) -> None:
    """Serves on a loopback port, printed first, until the engine ends the process."""
    lifetime = Lifetime()
    server = grpc.server(ThreadPoolExecutor(max_workers=8))
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(LanguageHost(engine, entry), server)
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    lifetime.wait()
    server.stop(grace=None)


if __name__ == "__main__":
    addresses = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    serve(addresses[0] if addresses else "", os.environ["LAB_LANGUAGE_ENTRY"])
