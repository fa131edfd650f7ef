"""What can go wrong while the embedded stack comes up, said as a sentence a person can act on."""


class StackError(Exception):
    """The embedded stack cannot start; the message says what to do instead."""


class AlreadyRunningError(StackError):
    """Another live process holds this directory."""


class PortTakenError(StackError):
    """The server could not listen on the port that was free a moment ago."""
