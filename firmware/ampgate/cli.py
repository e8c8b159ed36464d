"""The command line ``ampgate``: exit code 0, 1 for a failure, 2 for wrong use."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ampgate import __version__, control, logs
from ampgate.board.description import BoardError, describe
from ampgate.config import ChargerTable, Config, Mode, load
from ampgate.settings import ConfigError

if TYPE_CHECKING:
    from ampgate.ocpp.upstream import Endpoint

DEFAULT_CONFIG: Final = Path("ampgate.toml")
DEFAULT_STATE: Final = Path(".ampgate")
DEVICE_BOARD: Final = Path("/usr/share/ampgate/board.toml")
"""Where the device's image has the description of its board."""
_ALL_FRAMES: Final = 1_000_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; what it returns is the exit code."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except ConfigError as error:
        return _fail(*error.problems)
    except (BoardError, control.ControlError) as error:
        return _fail(str(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # `ampgate registers | head`
        return 0
    except KeyboardInterrupt:
        return 130


def _fail(*reasons: str, code: int = 1) -> int:
    for reason in reasons:
        print(f"ampgate: {reason}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ampgate", description="Gateway that makes OCPP 1.6 chargers look like one Modbus device."
    )
    parser.add_argument("--version", action="version", version=f"ampgate {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, command: Callable[[argparse.Namespace], int], help_: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help_, description=help_)
        sub.set_defaults(command=command)
        return sub

    run = add("run", _run, "Run the gateway; with --demo together with simulated chargers and the reference BMS.")
    _gateway_options(run)
    run.add_argument("--demo", action="store_true", help="show a living site with simulated chargers and a BMS")
    run.add_argument("--modbus-port", type=int, default=5020, help="Modbus TCP port of the demo (default 5020)")
    run.add_argument("--ocpp-port", type=int, default=9000, help="OCPP port of the demo (default 9000)")
    run.add_argument("--duration", type=float, help="end the demo after this many seconds")
    run.set_defaults(defaults=None, system_clock=False)

    gateway = add("gateway", _gateway, "Run the gateway process alone.")
    _gateway_options(gateway)
    gateway.add_argument("--defaults", type=Path, help="configuration to take while there is no configuration file")
    gateway.add_argument(
        "--system-clock", action="store_true", help="set the system's clock when the BMS does (needs CAP_SYS_TIME)"
    )

    check = add("check", _check, "Check a configuration file and show the addresses that result from it.")
    _config_option(check)
    _board_option(check)

    connection = add(
        "check-connection", _check_connection, "Try to connect to the external central system, step by step."
    )
    _config_option(connection)
    _state_option(connection)
    connection.add_argument("--charger", help="charger id to connect as (default: the first that is not connected now)")

    registers = add("registers", _registers, "Print the register map, of a configuration or in general.")
    registers.add_argument("--config", type=Path, help="print the addresses of this configuration")
    registers.add_argument("--mode", type=Mode, choices=list(Mode), help="print the map of this mode")
    registers.add_argument("--format", choices=("text", "csv", "md"), default="text", help="default: text")

    status = add("status", _status, "Show what a running gateway is doing.")
    _state_option(status)
    status.add_argument("--json", action="store_true", help="print everything as JSON")

    trace = add("trace", _trace, "Print the last frames of a running gateway, OCPP and Modbus.")
    _state_option(trace)
    trace.add_argument("--count", type=int, help="number of frames (default 50; with --save all that are kept)")
    trace.add_argument("--json", action="store_true", help="print one JSON object a frame")
    trace.add_argument("--save", type=Path, metavar="FILE", help="write the frames to a file, as --json prints them")

    board = add("board", _board, "Show the board of a running gateway; move switches and button of a simulated one.")
    _state_option(board)
    for option, meaning in (("--on", "ON"), ("--off", "OFF")):
        board.add_argument(
            option,
            type=int,
            nargs="+",
            choices=(1, 2, 3),
            default=(),
            metavar="N",
            help=f"set these DIP switches {meaning} (1, 2, 3); in force after a restart",
        )
    board.add_argument("--button", choices=("pressed", "released"), help="press or release the push button")

    _bms_options(add("bms", _bms, "Run a BMS that answers chargers over Modbus, and command it."))
    _simulate_options(add("simulate", _simulate, "Run simulated chargers against any central system."))

    _device_options(add("network", _device, "Show or change the network settings of the device."), "network")
    _device_options(add("factory-reset", _device, "Set the device back to factory settings."), "factory-reset")
    return parser


def _config_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", type=Path, default=DEFAULT_CONFIG, help=f"configuration file (default {DEFAULT_CONFIG})"
    )


def _state_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--state",
        type=Path,
        default=DEFAULT_STATE,
        help=f"state directory of the gateway (default {DEFAULT_STATE})",
    )


def _board_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--board",
        type=Path,
        default=DEVICE_BOARD if DEVICE_BOARD.exists() else None,
        help=f"description of the hardware (default {DEVICE_BOARD} where it exists, else a simulated board)",
    )


def _gateway_options(parser: argparse.ArgumentParser) -> None:
    _config_option(parser)
    _state_option(parser)
    _board_option(parser)
    parser.add_argument(
        "--log",
        type=logs.LogFormat,
        choices=list(logs.LogFormat),
        default=logs.LogFormat.AUTO,
        help="form of the log on standard error (default auto)",
    )
    parser.add_argument(
        "--log-level", choices=("DEBUG", "INFO", "WARNING", "ERROR"), default="INFO", help="default INFO"
    )
    parser.add_argument(
        "--loop",
        choices=("uvloop", "asyncio"),
        default="uvloop",
        help="event loop (default uvloop where available)",
    )


def _run(options: argparse.Namespace) -> int:
    if not options.demo:
        return _gateway(options)
    from ampgate.demo import run_demo

    return run_demo(options.modbus_port, options.ocpp_port, duration=options.duration)


def _gateway(options: argparse.Namespace) -> int:
    from ampgate import gateway

    config = load(_configuration(options))
    logs.start(options.log, options.log_level)
    try:
        with asyncio.Runner(loop_factory=_loop_factory(options.loop)) as runner:
            runner.run(gateway.run(config, options.state, options.board, system_clock=options.system_clock))
    except gateway.StartError as error:
        return _fail(str(error))
    return 0


def _configuration(options: argparse.Namespace) -> Path:
    defaults: Path | None = options.defaults
    path: Path = options.config
    return path if defaults is None or path.exists() else defaults


def _loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if name == "uvloop":
        try:
            import uvloop
        except ImportError:  # not available for this platform; the standard loop does the same, slower
            return None
        return uvloop.new_event_loop
    return None


def _check(options: argparse.Namespace) -> int:
    from ampgate.endpoints import endpoints
    from ampgate.explain import explain

    config = load(options.config)
    endpoints(config)
    print(f"{options.config} is sound, chargers: {len(config.charger)}")
    print("\n".join(explain(config, describe(options.board).serial.device)))
    return 0


def _check_connection(options: argparse.Namespace) -> int:
    config = load(options.config)
    if config.gateway.mode is not Mode.EXTERNAL:
        return _fail(f'{options.config}: gateway.mode = "{config.gateway.mode}" has no external central system', code=2)
    connected = _bridged(options.state)
    identities = [charger.id for charger in config.charger]
    identity = options.charger or next((name for name in identities if name not in connected), None)
    if options.charger and options.charger not in identities:
        return _fail(f"--charger {options.charger} is not configured; configured: {', '.join(identities)}", code=2)
    if identity is None:
        reason = "every charger is connected to it through the gateway" if identities else "no charger is configured"
        return _fail(f"nothing to try: {reason} (option --charger)", code=0 if identities else 2)
    from ampgate.endpoints import endpoints

    return asyncio.run(_probe(endpoints(config)[identity], identity))


def _bridged(state: Path) -> set[str]:
    """The chargers that a running gateway has connected to the central system: a second connection would disturb."""
    try:
        status = control.ask(state / control.SOCKET_NAME, "status")
    except control.ControlError:
        return set()
    return {charger["id"] for charger in status["chargers"] if charger["online"]}


async def _probe(endpoint: Endpoint, identity: str) -> int:
    from ampgate.ocpp.probe import probe

    print(f"{endpoint.url(identity)} as {identity}")
    ok = False
    async for step in probe(endpoint, identity):
        ok = step.ok
        print(f"{step.name:<11} {'ok    ' if ok else 'failed'} {step.seconds * 1000:>6.0f} ms  {step.text}", flush=True)
    return 0 if ok else 1


def _registers(options: argparse.Namespace) -> int:
    import msgspec

    from ampgate.gateway import register_site
    from ampgate.registers import export

    if options.format == "md":
        if options.config or options.mode:
            return _fail("--format md prints the general map; use text or csv with --config or --mode")
        print(export.to_markdown(), end="")
        return 0
    config = load(options.config) if options.config else Config(charger=[ChargerTable(id="X")])
    if options.mode:
        config = msgspec.structs.replace(config, gateway=msgspec.structs.replace(config.gateway, mode=options.mode))
    site = register_site(config).places
    render = export.to_csv if options.format == "csv" else export.to_text
    print(render(site, config.modbus.unit_id), end="")
    return 0


def _status(options: argparse.Namespace) -> int:
    import msgspec

    answer = control.ask(options.state / control.SOCKET_NAME, "status")
    if options.json:
        print(msgspec.json.format(msgspec.json.encode(answer)).decode())
    else:
        print("\n".join(_status_lines(answer)))
    return 0


def _status_lines(status: dict[str, Any]) -> list[str]:
    tcp, rtu, ocpp = status["modbus"]["tcp"], status["modbus"]["rtu"], status["ocpp"]
    lines = [f"{status['name']}  ampgate {status['version']}, mode {status['mode']}, up {_duration(status['uptime'])}"]
    if tcp:
        lines.append(
            f"Modbus TCP  {tcp['host']}:{tcp['port']}  unit {status['modbus']['unit_id']}  "
            f"{tcp['clients']}/{tcp['max_clients']} clients  {tcp['requests']} requests, "
            f"{tcp['exceptions']} exceptions, {tcp['refused']} turned away"
        )
    if rtu:
        lines.append(
            f"Modbus RTU  {rtu['line']}{'' if rtu['open'] else ' (cannot be opened)'}  "
            f"address {status['modbus']['unit_id']}  {rtu['requests']} requests, {rtu['exceptions']} exceptions, "
            f"{rtu['bus_errors']} bad frames on the line"
        )
    lines.append(
        f"OCPP        ws://{ocpp['host']}:{ocpp['port']}  "
        f"{ocpp['connected']}/{len(status['chargers'])} chargers connected"
    )
    if ocpp["upstream"]:
        lines.append(f"Upstream    {ocpp['upstream']}")
    if ocpp["unknown"]:
        tried = ", ".join(f"{identity or '(none)'} ({count}×)" for identity, count in ocpp["unknown"].items())
        lines.append(f"Not configured but tried to connect: {tried}")
    lines += [*_board_lines(status["board"]), *_alarm_lines(status["alarms"])]
    lines += [
        "",
        f"{'charger':<22} {'conn':>4} {'status':<14} {'power':>9} {'energy':>11} {'session':>10}  id tag",
    ]
    for charger in status["chargers"]:
        title = f"{charger['id']} {charger['name']}".strip()[:22]
        for connector in charger["connectors"]:
            state = connector["status"] or "-" if charger["online"] else "offline"
            session = f"{connector['session_wh'] / 1000:.2f} kWh" if connector["session_wh"] is not None else ""
            lines.append(
                f"{title:<22} {connector['number']:>4} {state:<14} {connector['power_w'] / 1000:>6.2f} kW "
                f"{connector['energy_wh'] / 1000:>7.1f} kWh {session:>10}  {connector['id_tag']}"
            )
            title = ""
        if charger["upstream"]:
            lines.append(f"{'':<22} central system: {_upstream_words(charger['upstream'])}")
        if charger["waiting"]:
            lines.append(f"{'':<22} waits for the BMS: {', '.join(charger['waiting'])}")
    lines += ["", *(_event_line(event) for event in status["activity"][-8:])]
    return lines


def _upstream_words(upstream: dict[str, Any]) -> str:
    words = [upstream["state"] or "not connected"]
    if upstream["kept"]:
        words.append(f"{upstream['kept']} messages to deliver")
    if upstream["given_up"]:
        words.append(f"{upstream['given_up']} given up")
    return ", ".join(words)


_LAMPS: Final = {
    "port_a": "LED 1",
    "ethernet": "LED 2",
    "feedback_green": "feedback green",
    "feedback_red": "feedback red",
    "button": "button",
}


def _board_lines(board: dict[str, Any]) -> list[str]:
    lamps = ", ".join(f"{title} {board['lamps'][name]['shows']}" for name, title in _LAMPS.items())
    at_start, now = board["switches"]["at_start"], board["switches"]["now"]
    known = {True: "on", False: "off", None: "unknown"}
    lines = [
        f"Board       {board['name']}  {lamps}{', button pressed' if board['button'] else ''}",
        f"EIA-485     {_switches(at_start)}: termination {known[board['termination']]}, bias {known[board['bias']]}",
    ]
    if now not in (None, at_start):
        lines.append(f"            now {_switches(now)}: in force after a restart")
    return lines + _alarm_lines(board["alarms"])


def _alarm_lines(alarms: list[str]) -> list[str]:
    return [f"Alarm       {alarm}" for alarm in alarms]


def _switches(positions: list[bool] | None) -> str:
    if positions is None:
        return "DIP switch unknown"
    return "DIP switch " + ", ".join(f"{number} {'ON' if on else 'OFF'}" for number, on in enumerate(positions, 1))


def _board(options: argparse.Namespace) -> int:
    pressed = {"pressed": True, "released": False}.get(options.button)
    answer = control.ask(options.state / control.SOCKET_NAME, "board", on=options.on, off=options.off, pressed=pressed)
    print("\n".join(_board_lines(answer)))
    return 0


def _event_line(event: dict[str, Any]) -> str:
    at = datetime.fromtimestamp(event["at"]).astimezone()
    return f"{at:%H:%M:%S}  {event['charger'] or 'gateway'}: {event['text']}"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if days else f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def _trace(options: argparse.Namespace) -> int:
    import msgspec

    count = options.count if options.count is not None else _ALL_FRAMES if options.save else 50
    frames = control.ask(options.state / control.SOCKET_NAME, "trace", count=count)
    lines = [msgspec.json.encode(frame).decode() for frame in frames]
    if options.save:
        try:
            options.save.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        except OSError as error:
            return _fail(f"{options.save}: {error.strerror}")
        print(f"{options.save}: {len(lines)} frames")
    elif options.json:
        print(*lines, sep="\n", end="\n" if lines else "")
    else:
        for frame in frames:
            at = datetime.fromtimestamp(frame["at"]).astimezone()
            print(f"{at:%H:%M:%S.%f}"[:-3], frame["peer"], "<-" if frame["sent"] else "->", frame["data"])
    return 0


def _bms_options(parser: argparse.ArgumentParser) -> None:
    from ampgate.bms import command

    command.add_arguments(parser)


def _bms(options: argparse.Namespace) -> int:
    from ampgate.bms import command

    return command.run(options)


def _simulate_options(parser: argparse.ArgumentParser) -> None:
    from ampgate.simulator import command

    command.add_arguments(parser)


def _simulate(options: argparse.Namespace) -> int:
    from ampgate.simulator import command

    return command.run(options)


def _device_options(parser: argparse.ArgumentParser, command: str) -> None:
    from ampgate.system import command as device

    device.add_arguments(parser, command)


def _device(options: argparse.Namespace) -> int:
    from ampgate.system import command as device

    try:
        return device.run(options)
    except device.DeviceError as error:
        return _fail(*error.reasons)
