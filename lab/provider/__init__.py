"""What every plug-in of the lab shares: Pulumi's provider protocol, without any cloud in it."""
