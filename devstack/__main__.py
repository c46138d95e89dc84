"""python -m devstack up|down|status|install"""

import argparse
import sys
from pathlib import Path

from devstack.errors import PackagesMissingError, StackError
from devstack.packages import install
from devstack.stack import SERVICES, Stack

_DEFAULT_DIR = Path(__file__).resolve().parents[1] / ".stack"


def main() -> int:
    arguments = _parse()
    try:
        match arguments.command:
            case "install":
                install()
            case "up":
                _up(arguments)
            case "down":
                Stack(arguments.dir).down()
            case "status":
                _print_status(Stack(arguments.dir))
            case "guard":
                _guard(Stack(arguments.dir))
    except PackagesMissingError as err:
        print(err, file=sys.stderr)
        return 2
    except StackError as err:
        print(err, file=sys.stderr)
        return 1
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m devstack", description="Local services for Pictor.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("install", help="install what is missing (Debian packages need root)")
    up = commands.add_parser("up", help="start the services; the last line is the file of their addresses")
    up.add_argument("services", nargs="*", choices=[*SERVICES, []], help="default: all")
    up.add_argument("--flower", action="store_true", help="also start Flower; needs `make setup`")
    down = commands.add_parser("down", help="stop them and delete their data")
    status = commands.add_parser("status", help="show what runs")
    guard = commands.add_parser("guard", help="`down` at the end of standard input, when the parent dies")
    for command in (up, down, status, guard):
        command.add_argument("--dir", type=Path, default=_DEFAULT_DIR, help="where everything is kept")
    return parser.parse_args()


def _up(arguments: argparse.Namespace) -> None:
    stack = Stack(arguments.dir)
    try:
        stack.up(arguments.services or SERVICES, flower=arguments.flower)
    except PackagesMissingError as err:
        raise PackagesMissingError(f"{err}\nRun: python -m devstack install") from err
    print(stack.environment_file)


def _guard(stack: Stack) -> None:
    sys.stdin.buffer.read()
    stack.down()


def _print_status(stack: Stack) -> None:
    print(f"{'service':<10} {'state':<16} {'MB':>5}  {'pids':<20} ports")
    for row in stack.status():
        pids, ports = (" ".join(map(str, numbers)) for numbers in (row.pids, row.ports))
        print(f"{row.name:<10} {row.state:<16} {row.resident_bytes // 2**20:>5}  {pids:<20} {ports}")


if __name__ == "__main__":
    sys.exit(main())
