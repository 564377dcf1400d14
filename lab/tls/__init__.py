"""The stand-in for the `tls` provider: keys and certificates, made with `cryptography`."""
