"""The command line: `gradclip` or `python -m gradclip`.

Each subcommand is a module of this package with HELP, add_arguments(parser)
and run(arguments), which returns the exit status. It is imported to build the
parser, so it imports what is heavy in run().
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from .._native.errors import GradClipError
from . import advise, inspect

_COMMANDS = {"advise": advise, "inspect": inspect}


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except GradClipError as error:
        print(f"gradclip: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader has gone (`gradclip inspect FILE | head`): there is nobody to
        # tell, and Python must not try again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gradclip", description="Gradient clipping.")
    parser.add_argument("--version", action=_Version)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, module in _COMMANDS.items():
        command = commands.add_parser(name, help=module.HELP, description=module.__doc__)
        command.formatter_class = argparse.RawDescriptionHelpFormatter
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


class _Version(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(
            option_strings, dest, nargs=0, help="show the versions of package and library, and exit"
        )

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from .. import __version__
        from .._native import ffi

        library = ffi.gradclip_version_string().decode()
        print(f"gradclip {__version__}")
        print(f"libgradclip {library} ({ffi.gradclip_isa().decode()}) from {ffi.library_path}")
        parser.exit()
