"""Groups of options: declared once, parameters of each command that takes them, and handed to it as one object.

::

    class Ending(OptionGroup):
        exit_zero: Annotated[bool, typer.Option("--exit-zero")] = False

    @flat(request=(Pair, Network))           # the options of these groups make a ScanRequest
    def scan(request: "ScanRequest", ending: Ending) -> None: ...
"""

import inspect
from collections.abc import Callable, Iterable
from inspect import Parameter, Signature
from typing import Any

Options = tuple[Parameter, ...]
Command = Callable[..., None]


class OptionGroup:
    """Options by name, annotated as Typer wants them. Not a dataclass: making a score of those takes too long."""

    def __init__(self, **values: Any) -> None:
        vars(self).update(values)

    @classmethod
    def parameters(cls) -> Options:
        """Return the options as parameters of a function."""
        return tuple(
            Parameter(name, Parameter.KEYWORD_ONLY, annotation=annotation, default=getattr(cls, name, Parameter.empty))
            for name, annotation in cls.__annotations__.items()
        )


def flat(**requests: Iterable[type[OptionGroup] | Options]) -> Callable[[Command], Command]:
    """Return a decorator for a command whose groups of options become its own parameters.

    Args:
        requests: Names of its parameters that are a :class:`.request.ScanRequest`, and the groups that ask for it.
    """

    def decorate(command: Command) -> Command:
        makers: dict[str, tuple[Options, Callable[..., Any]]] = {}
        options: list[Parameter] = []
        for parameter in inspect.signature(command).parameters.values():
            kind = parameter.annotation
            if parameter.name in requests:
                makers[parameter.name] = _joined(requests[parameter.name]), _request
            elif isinstance(kind, type) and issubclass(kind, OptionGroup):
                makers[parameter.name] = kind.parameters(), kind
            options += makers[parameter.name][0] if parameter.name in makers else [parameter]

        def call(**values: Any) -> None:
            made = {
                name: make(**{part.name: values.pop(part.name) for part in parts})
                for name, (parts, make) in makers.items()
            }
            command(**values, **made)

        call.__name__, call.__doc__, call.__module__ = command.__name__, command.__doc__, command.__module__
        call.__annotations__ = {option.name: option.annotation for option in options}
        signature = Signature([option.replace(kind=Parameter.KEYWORD_ONLY) for option in options])
        setattr(call, "__signature__", signature)  # noqa: B010 - functions have it, their type does not say so
        return call

    return decorate


def _joined(groups: Iterable[type[OptionGroup] | Options]) -> Options:
    parts = (group if isinstance(group, tuple) else group.parameters() for group in groups)
    return tuple(parameter for part in parts for parameter in part)


def _request(**values: Any) -> Any:
    from ..checkpoints.existing import existing
    from ..request import from_options

    request = from_options(values)
    existing(request.before), existing(request.after)  # before torch is imported, which takes seconds
    return request
