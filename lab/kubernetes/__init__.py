"""The plug-in `kubernetes`: it server-side-applies Patch resources to a real API server.

What it keeps of pulumi-kubernetes 4.34 is what the program depends on; semantics were read in its
source (provider/pkg/provider/provider.go and provider/pkg/await/, June 2026) and are named where
they are kept. Everything else it refuses by name.
"""
