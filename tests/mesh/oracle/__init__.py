"""The oracle: the same bundles offered to the real istiod, to real peers, and to `meshca check`."""
