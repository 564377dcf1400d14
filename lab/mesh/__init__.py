"""The local cluster: the real control plane, istiod, istio agents and Envoys, on loopback only.

Everything that decides is the real program (lab/programs.py says which). Stand-ins exist for what
needs a machine or Azure: the kubelet, the Secrets Store CSI driver, kube-proxy, and the part of
the AKS resource provider that installs the mesh add-on. They keep the real ones' observable
behaviour: what they write to the API server, which files they lay, in what order they fail.

Linux only: each pod has an address of its own in 127.0.0.0/8, which other systems do not offer.
"""
