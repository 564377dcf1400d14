"""The rules of a mesh CA and of its rotation: pure Python, no Pulumi import."""
