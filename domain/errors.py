"""Failures, named by whose fault they are.

What a library raises is translated into one of these at the adapter that called the library;
nothing else in the project knows the library's exceptions.
"""


class TakedownError(Exception):
    """Any failure that this project names."""


class CallerError(TakedownError):
    """The caller's request cannot be understood: 400. Nothing was done.

    Args:
        code: a short, stable name of the fault, part of the problem's `type`.
        detail: what is wrong, for the person who wrote the caller.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class SettingsError(TakedownError):
    """The operator's settings are wrong; the message names the setting."""


class UnreadableRecord(TakedownError):
    """A record's writer sent what the contract does not allow."""


class KafkaUnavailable(TakedownError):
    """Kafka could not be reached, or did not answer in time. Nothing was handed over.

    Args:
        cause: why, for operators: it can name servers, users and commands.
        plain: the same for callers, without any of these.
    """

    def __init__(self, cause: str, *, plain: str = "Kafka cannot be used now") -> None:
        super().__init__(cause)
        self.plain = plain


class BrokerStartError(TakedownError):
    """The embedded broker did not start on this machine."""
