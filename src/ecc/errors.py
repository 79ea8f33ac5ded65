"""Errors that several layers raise and those above them catch."""


class CodecUnavailable(Exception):
    """A codec cannot run here; the message is one line: what is missing, what to install."""
