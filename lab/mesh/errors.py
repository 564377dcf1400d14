"""Why a local cluster does not run, for whoever has asked for one."""


class MeshError(Exception):
    """The cluster cannot run, or did not get where it was expected; the text says what is there."""
