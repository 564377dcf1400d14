"""Policies that hold for any Pulumi program that gives an AKS mesh its CA out of Key Vault.

They share no code with `meshca`, so that they are a second opinion and can be used without it.
"""
