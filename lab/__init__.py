"""The local cloud: everything that stands in for Azure on one machine.

The program never imports it and cannot tell whether it runs on it.
"""
