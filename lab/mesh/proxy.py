"""A meshed pod: the real istio agent and, started by it, the real Envoy.

The agent gets leaf and trust from istiod and serves them to Envoy by SDS. Envoy's own bootstrap
is the lab's: one listener that demands mTLS from peers, and one plain listener through which the
pod calls a peer. Neither side reuses a connection or resumes a session, so one request is one
full handshake. The role is `router`: stock Envoy lacks the extensions that istiod's listeners for
sidecars name, and the mTLS context is the lab's either way.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from lab import programs
from lab.mesh import probes
from lab.mesh.containers import Container
from lab.mesh.network import ISTIOD_PORT

CONTAINER: Final = "istio-proxy"
ADMIN_PORT: Final = 15000
OUTBOUND_PORT: Final = 15001
INBOUND_PORT: Final = 15006
PEER_HEADER: Final = "x-envoy-original-dst-host"
"""Names the peer, as `address:port`, in a request to the outbound listener."""

TOKEN: Final = Path("var/run/secrets/tokens/istio-token")
TRUST: Final = Path("var/run/secrets/istio")
"""Where the agent looks for `root-cert.pem`, its trust for istiod itself."""

TRUST_DOMAIN: Final = "cluster.local"

_TYPES = "type.googleapis.com/envoy.extensions"
_SDS_SOCKET = "./var/run/secrets/workload-spiffe-uds/socket"


class Proxy(Container):
    """One pod's agent and Envoy."""

    def __init__(
        self,
        name: str,
        address: str,
        *,
        namespace: str,
        service_account: str,
        directory: Path,
        run: Path,
        istiod: str,
        istiod_name: str,
        environment: Mapping[str, str],
    ) -> None:
        """Prepare pod `name` at `address`; `istiod` is the address of the control plane's Service.

        `directory` already holds the token and the trust, laid by the kubelet.
        """
        super().__init__(
            CONTAINER, name, address, directory=directory, run=run, environment=environment
        )
        self._namespace = namespace
        self._service_account = service_account
        self._istiod = istiod
        self._istiod_name = istiod_name

    def start(self) -> None:
        """Start the agent; it starts Envoy once it has a certificate to serve."""
        for folder in ("etc/istio/proxy", "etc/istio/pod"):
            (self._directory / folder).mkdir(parents=True, exist_ok=True)
        # The agent's own status server listens on every interface, and only this turns it off.
        annotations = self._directory / "etc/istio/pod/annotations"
        annotations.write_text('status.sidecar.istio.io/port="0"\n', encoding="ascii")
        trust_is_pushed = self._environment.get("PROXY_CONFIG_XDS_AGENT", "false") == "true"
        bootstrap = self._directory / "envoy.json"
        bootstrap.write_text(
            json.dumps(
                _bootstrap(self.name, self._namespace, self._address, with_ads=trust_is_pushed)
            )
        )
        config = {
            "binaryPath": str(programs.envoy()),
            "customConfigFile": str(bootstrap),
            "configPath": "./etc/istio/proxy",
            "discoveryAddress": f"{self._istiod}:{ISTIOD_PORT}",
            "proxyAdminPort": ADMIN_PORT,
            "controlPlaneAuthPolicy": "MUTUAL_TLS",
            "concurrency": 1,
            "terminationDrainDuration": "0.1s",
        }
        self._start(
            [str(programs.ensure(["pilot-agent"])["pilot-agent"]), "proxy", "router"],
            {
                **self._environment,
                "PROXY_CONFIG": json.dumps(config),
                "POD_NAME": self.name,
                "POD_NAMESPACE": self._namespace,
                "SERVICE_ACCOUNT": self._service_account,
                "INSTANCE_IP": self._address,
                "ISTIO_META_CLUSTER_ID": "Kubernetes",
                "ISTIOD_SAN": self._istiod_name,
                "CLOUD_PLATFORM": "none",
                "JWT_POLICY": "third-party-jwt",
                "ECC_SIGNATURE_ALGORITHM": "ECDSA",
            },
        )

    def ready(self) -> bool:
        """Probe Envoy: live means that it has leaf and trust and listens."""
        return probes.answers(self._address, ADMIN_PORT, "/ready")


def _bootstrap(name: str, namespace: str, address: str, *, with_ads: bool) -> dict[str, Any]:
    bootstrap: dict[str, Any] = {
        # istiod closes the stream of a node whose id does not have this form.
        "node": {
            "id": f"router~{address}~{name}.{namespace}~{namespace}.svc.cluster.local",
            "cluster": name,
        },
        "admin": {"address": _address(address, ADMIN_PORT)},
        "static_resources": {
            "listeners": [_inbound(name, address), _outbound(address)],
            "clusters": [_peers(), _socket_cluster("sds-grpc", _SDS_SOCKET)],
        },
    }
    if with_ads:
        # The agent asks for pushed trust when Envoy asks for listeners through it; a router that
        # no Gateway names is given none.
        bootstrap["static_resources"]["clusters"].append(
            _socket_cluster("xds-grpc", "./etc/istio/proxy/XDS")
        )
        bootstrap["dynamic_resources"] = {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}],
            },
            "lds_config": {
                "ads": {},
                "resource_api_version": "V3",
                "initial_fetch_timeout": "1s",
            },
        }
    return bootstrap


def _inbound(name: str, address: str) -> dict[str, Any]:
    route = {"match": {"prefix": "/"}, "direct_response": {"status": 200}}
    context = {
        "@type": f"{_TYPES}.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": _tls(),
        "require_client_certificate": True,
        "disable_stateless_session_resumption": True,
        "disable_stateful_session_resumption": True,
    }
    return {
        "name": "inbound",
        "address": _address(address, INBOUND_PORT),
        "filter_chains": [
            {
                "filters": [_http("inbound", route)],
                "transport_socket": {
                    "name": "envoy.transport_sockets.tls",
                    "typed_config": context,
                },
            }
        ],
    }


def _outbound(address: str) -> dict[str, Any]:
    route = {"match": {"prefix": "/"}, "route": {"cluster": "peers", "timeout": "5s"}}
    return {
        "name": "outbound",
        "address": _address(address, OUTBOUND_PORT),
        "filter_chains": [{"filters": [_http("outbound", route)]}],
    }


def _peers() -> dict[str, Any]:
    context = {
        "@type": f"{_TYPES}.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": _tls(),
        "max_session_keys": 0,
    }
    protocol = {
        "@type": f"{_TYPES}.upstreams.http.v3.HttpProtocolOptions",
        "common_http_protocol_options": {"max_requests_per_connection": 1},
        "explicit_http_config": {"http_protocol_options": {}},
    }
    return {
        "name": "peers",
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        "original_dst_lb_config": {"use_http_header": True},
        "connect_timeout": "2s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": protocol
        },
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": context},
    }


def _tls() -> dict[str, Any]:
    return {
        "tls_certificate_sds_secret_configs": [_secret("default")],
        "combined_validation_context": {
            "default_validation_context": {
                "match_typed_subject_alt_names": [
                    {"san_type": "URI", "matcher": {"prefix": f"spiffe://{TRUST_DOMAIN}/"}}
                ]
            },
            "validation_context_sds_secret_config": _secret("ROOTCA"),
        },
    }


def _secret(name: str) -> dict[str, Any]:
    source = {
        "api_type": "GRPC",
        "transport_api_version": "V3",
        "set_node_on_first_message_only": True,
        "grpc_services": [{"envoy_grpc": {"cluster_name": "sds-grpc"}}],
    }
    return {
        "name": name,
        "sds_config": {
            "api_config_source": source,
            "resource_api_version": "V3",
            # A pod waits for its certificate however long it takes, as a real one does.
            "initial_fetch_timeout": "0s",
        },
    }


def _socket_cluster(name: str, path: str) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": {"pipe": {"path": path}}}}
    protocol = {
        "@type": f"{_TYPES}.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": protocol
        },
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _http(name: str, route: Mapping[str, Any]) -> dict[str, Any]:
    router = {"@type": f"{_TYPES}.filters.http.router.v3.Router"}
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": (f"{_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager"),
            "stat_prefix": name,
            # Without this the answer to a failed handshake does not say what TLS had to say.
            "local_reply_config": {
                "body_format": {
                    "text_format_source": {
                        "inline_string": "%LOCAL_REPLY_BODY% %UPSTREAM_TRANSPORT_FAILURE_REASON%"
                    }
                }
            },
            "route_config": {
                "name": name,
                "virtual_hosts": [{"name": name, "domains": ["*"], "routes": [route]}],
            },
            "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
        },
    }


def _address(address: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": address, "port_value": port}}
