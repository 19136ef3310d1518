"""Show the help of a command, and explain in our own words why its arguments cannot be used.

The library that parses the arguments, and the one that converts them, have messages of their own, which name types and
validators. A person reads what is wrong, and where the help is.
"""

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from bot.cli import output
from storage.domain.validation import did_you_mean, explain_invalid

_TOO_MANY = re.compile(r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)")
_NO_COMMAND = re.compile(r"No such command '(.*?)'\.")
_PREFIX = re.compile("^Value error, ")  # pydantic's, before a message of typer
_NO_VALUE = re.compile(r"Option '(.*)' requires")


@dataclass(frozen=True, slots=True)
class Command:
    """A command: the place of its function, as `module:function`, and the first paragraph of its help."""

    place: str
    summary: str


class _Deferred(TyperCommand):
    """A command in a list of commands. Its function is not imported, and its parameters are not known."""

    def __init__(self, name: str, command: Command) -> None:
        super().__init__(name, help=command.summary)
        self._place = command.place

    def load(self) -> Any:
        """Import the function, and return the command that runs it."""
        module, _, function = self._place.partition(":")
        single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        single.command(self.name)(getattr(import_module(module), function))
        return typer.main.get_command(single)


class Group(TyperGroup):
    """The whole program, or a noun with its verbs. Without a verb it shows its help and exits with 0."""

    def main(self, *args: Any, **more: Any) -> Any:
        """Run the program. A mistake in its arguments becomes three lines on standard error, and exit code 2."""
        try:
            code = super().main(*args, **more | {"standalone_mode": False})
        except typer.TyperException as exc:
            context = getattr(exc, "ctx", None)
            usage = context.get_usage() if context else "Usage: contact-score [OPTIONS] COMMAND [ARGS]..."
            output.note(usage, explain(exc), f"Help: {context.command_path if context else 'contact-score'} --help")
            code = exc.exit_code
        except typer.Abort:  # at a question
            output.note("Stopped: nothing was changed.")
            code = 1
        sys.exit(code if isinstance(code, int) else 0)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Show the help if there are no arguments."""
        if not args and not ctx.resilient_parsing:
            typer.echo(ctx.get_help())
            ctx.exit(0)
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that the arguments name, without the types of its flags in its help."""
        name, command, rest = super().resolve_command(ctx, args)
        if isinstance(command, _Deferred):
            command = command.load()
        if command is not None:
            _hide_flag_types(command.get_params(ctx))
        return name, command, rest

    def get_params(self, ctx: Any) -> Any:
        """Return the options of the group, without the types of flags in its help."""
        params = super().get_params(ctx)
        _hide_flag_types(params)
        return params


def make_program(app: typer.Typer, commands: Mapping[str, Command], groups: Mapping[str, str]) -> Group:
    """Return the program of an app without commands, with these commands: `list`, or `source list` in a group."""
    program = typer.main.get_command(app)
    assert isinstance(program, Group)
    for name, command in commands.items():
        group_name, _, verb = name.rpartition(" ")
        if group_name and group_name not in program.commands:
            program.add_command(Group(name=group_name, help=groups[group_name]))
        group = program.commands[group_name] if group_name else program
        assert isinstance(group, Group)
        group.add_command(_Deferred(verb, command))
    return program


def _hide_flag_types(params: Iterable[Any]) -> None:
    """Make the help show `--yes` instead of `--yes <bool>`."""
    for param in params:
        if getattr(param, "is_flag", False) and param.metavar is None:
            param.metavar = ""


def explain(exc: typer.TyperException) -> str:
    """Return what is wrong with the arguments of a command, as a sentence."""
    context = getattr(exc, "ctx", None)
    if (option := getattr(exc, "option_name", None)) is not None and not _NO_VALUE.match(exc.message):
        options = [name for param in context.command.get_params(context) for name in param.opts] if context else []
        return f"There is no option {option}. {_suggest(option, [name for name in options if name[:2] == '--'])}"
    if match := _NO_VALUE.match(exc.message):
        return f"{match[1]} needs a value."
    if match := _NO_COMMAND.match(exc.message):
        return f"There is no command {match[1]}. {_suggest(match[1], context.command.commands if context else ())}"
    if match := _TOO_MANY.match(exc.message):
        return f"`{match[1]}` is too much: the command takes fewer words. Put a text with blanks in quotes."
    if not isinstance(exc, typer.BadParameter):
        return _as_sentence(exc.message)
    from pydantic import ValidationError  # typer has imported it, if this is one

    name = _name_parameter(exc.param)
    if not exc.message:
        return f"{name} is missing."
    if isinstance(exc.__cause__, ValidationError):
        (error, *_) = exc.__cause__.errors(include_url=False)
        if error["type"] != "value_error":
            return f"{name} {explain_invalid(error)}, not `{error['input']}`."
    return _as_sentence(exc.message if exc.param is None else f"{name}: {_PREFIX.sub('', exc.message).rstrip('.')}")


def _suggest(name: str, known: Iterable[str]) -> str:
    """Return the names that are similar to an unknown one, or all names."""
    return did_you_mean(name, sorted(known)) if known else ""


def _name_parameter(param: Any) -> str:
    """Return how a person writes a parameter: `--min`, or the placeholder of an argument."""
    if param is None:
        return "A value"
    if param.param_type_name == "option":
        return str(param.opts[0])
    return str(param.metavar or param.name.upper())


def _as_sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '?', '!')) else '.'}"
