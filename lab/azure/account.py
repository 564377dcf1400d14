"""Who the lab is: one tenant, one subscription, and the principal that runs Pulumi.

The identifiers are made up and constant, so that state, ids and tests are stable.
"""

from __future__ import annotations

from typing import Final

TENANT_ID: Final = "7e5f1a3c-0b1d-4c57-9d2e-6a8f00000001"
SUBSCRIPTION_ID: Final = "7e5f1a3c-0b1d-4c57-9d2e-6a8f00000002"

CALLER_CLIENT_ID: Final = "7e5f1a3c-0b1d-4c57-9d2e-6a8f00000003"
CALLER_OBJECT_ID: Final = "7e5f1a3c-0b1d-4c57-9d2e-6a8f00000004"
"""Object id of the service principal that Pulumi signs in as."""

SECRETS_CALLER_NEEDS: Final = ("delete", "recover")
"""What azure-native does to secrets on the data plane, and so needs permission for."""

VAULT_DNS_SUFFIX: Final = "vault.azure.net"
