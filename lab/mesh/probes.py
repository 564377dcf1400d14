"""HTTP GET without ceremony, for readiness probes and Envoy's admin interface."""

import http.client
from collections.abc import Mapping


def get(
    address: str,
    port: int,
    path: str,
    *,
    timeout: float = 2.0,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, bytes] | None:
    """Return (status, body), or None when nobody answers."""
    connection = http.client.HTTPConnection(address, port, timeout=timeout)
    try:
        connection.request("GET", path, headers=dict(headers or {}))
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def answers(address: str, port: int, path: str) -> bool:
    """Tell whether a GET is answered with 200."""
    answer = get(address, port, path)
    return answer is not None and answer[0] == 200
