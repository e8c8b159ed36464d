"""Alarms: their texts by the driver guide, and receivers that are slow, dead or gone."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ampgate.bms import alarms
from ampgate.bms.alarms import Alarm, Alarms, Outlet, configured, stop_point, webhook
from ampgate.bms.config import AlarmTable

DEADLINE = 10.0
AT = datetime(2023, 6, 19, 15, 31, 25).astimezone()
ALARM = Alarm("OCPP", stop_point(0.1234), "User A", AT)


def until(condition) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_the_example_of_the_driver_guide() -> None:
    assert tuple(ALARM.fields.values()) == ("OCPP", "Charging stop (0.123kWh)", "User A", "4", "19/06/23", "15:31:25")


@pytest.mark.parametrize(
    ("energy", "text"), [(0.0, "0.000"), (0.0004, "0.000"), (12.3456, "12.346"), (1000.0, "1000.000")]
)
def test_energy_in_the_point_text(energy: float, text: str) -> None:
    assert stop_point(energy) == f"Charging stop ({text}kWh)"


def test_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    receivers = configured(AlarmTable())
    receivers.raise_(ALARM)
    receivers.close()
    assert capsys.readouterr().out == "OCPP\tCharging stop (0.123kWh)\tUser A\t4\t19/06/23\t15:31:25\n"


def test_no_receivers() -> None:
    receivers = configured(AlarmTable(stdout=False))
    receivers.raise_(ALARM)
    receivers.close()


@pytest.fixture
def stuck() -> Iterator[tuple[Outlet, threading.Event, list[Alarm]]]:
    """An outlet that holds its first alarm until the event is set."""
    go, entered, sent = threading.Event(), threading.Event(), []

    def send(alarm: Alarm) -> None:
        entered.set()
        go.wait(DEADLINE)
        sent.append(alarm)

    outlet = Outlet("test", send)
    outlet.put(ALARM)
    assert entered.wait(DEADLINE)
    yield outlet, go, sent
    go.set()
    outlet.close()


def test_a_slow_receiver_holds_nobody_up(stuck, caplog) -> None:
    outlet, go, sent = stuck
    began = time.monotonic()
    for number in range(alarms.WAITING + 5):
        outlet.put(ALARM._replace(point=str(number)))
    assert time.monotonic() - began < 1.0
    assert caplog.text.count("too many wait for test") == 5
    go.set()
    until(lambda: len(sent) == 1 + alarms.WAITING)
    assert sent[1].point == "5", "the oldest gave way"


def test_a_dead_receiver_does_not_keep_the_process(stuck) -> None:
    outlet, _, _ = stuck
    began = time.monotonic()
    outlet.close()
    assert time.monotonic() - began < alarms.CLOSE_TIMEOUT + 1.0


def test_it_is_tried_again_and_then_given_up(caplog) -> None:
    attempts, failures = [], 2

    def send(alarm: Alarm) -> None:
        attempts.append(alarm.point)
        if attempts.count(alarm.point) <= failures or alarm.point == "dead":
            raise OSError("no route")

    outlet = Outlet("test", send, (0.0, 0.0, 0.0))
    for point in ("late", "dead"):
        outlet.put(ALARM._replace(point=point))
    until(lambda: "alarm lost, test: no route" in caplog.text)
    outlet.close()
    assert attempts == ["late"] * 3 + ["dead"] * 4
    assert "'point': 'dead'" in caplog.text


def test_an_answer_that_is_not_http(caplog) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        outlet = Outlet("webhook", webhook(f"http://127.0.0.1:{server.getsockname()[1]}/"), ())
        outlet.put(ALARM)
        connection, _ = server.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(b"SSH-2.0\r\n\r\n")
            until(lambda: "alarm lost, webhook: SSH-2.0" in caplog.text)
        outlet.close()


def test_closing_ends_the_pause_between_attempts(caplog) -> None:
    def send(alarm: Alarm) -> None:
        raise OSError("no route")

    outlet = Outlet("test", send, (3600.0,))
    outlet.put(ALARM)
    receivers = Alarms([outlet])
    receivers.close()
    until(lambda: "alarm lost" in caplog.text)


@pytest.fixture
def hook() -> Iterator[tuple[str, list[tuple[str, dict]], list[int]]]:
    """A web server: its address, what was posted, and the codes that it answers with, the last one for ever."""
    posted, codes = [], [200]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posted.append((self.headers["Content-Type"], json.loads(body)))
            self.send_response(codes[0] if len(codes) == 1 else codes.pop(0))
            self.end_headers()

        def log_message(self, *_) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", posted, codes
        server.shutdown()
        thread.join(DEADLINE)


def test_webhook(hook) -> None:
    url, posted, codes = hook
    codes[:] = [500, 204]
    outlet = Outlet("webhook", webhook(url), (0.0,))
    outlet.put(ALARM)
    until(lambda: len(posted) == 2)
    outlet.close()
    kind, body = posted[1]
    assert kind == "application/json"
    assert body.pop("at") == AT.isoformat()
    assert body == {
        "system": "OCPP",
        "point": "Charging stop (0.123kWh)",
        "condition": "User A",
        "priority": "4",
        "date": "19/06/23",
        "time": "15:31:25",
    }


def test_a_webhook_that_never_answers(monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    monkeypatch.setattr(alarms, "WEBHOOK_TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        outlet = Outlet("webhook", webhook(f"http://127.0.0.1:{deaf.getsockname()[1]}/"), ())
        outlet.put(ALARM)
        until(lambda: "alarm lost, webhook: " in caplog.text)
        outlet.close()


def test_syslog_by_udp_and_without_a_server(caplog, tmp_path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(DEADLINE)
        receivers = configured(AlarmTable(stdout=False, syslog=f"127.0.0.1:{server.getsockname()[1]}"))
        receivers.raise_(ALARM)
        # RFC 3164: facility user (1) · 8 + severity warning (4)
        expected = b"<12>ampgate-bms: OCPP | Charging stop (0.123kWh) | User A | 4 | 19/06/23 | 15:31:25"
        assert server.recv(1000).rstrip(b"\0") == expected
        receivers.close()
    outlet = Outlet("syslog", alarms.syslog(str(tmp_path / "absent")), ())
    outlet.put(ALARM)
    until(lambda: "alarm lost, syslog: " in caplog.text)
    outlet.close()


def test_syslog_of_this_computer(tmp_path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "log"))
        server.settimeout(DEADLINE)
        receivers = configured(AlarmTable(stdout=False, syslog=str(tmp_path / "log")))
        receivers.raise_(ALARM)
        assert server.recv(1000).startswith(b"<12>ampgate-bms: OCPP | ")
        receivers.close()


def test_the_path_of_a_webhook_stays_out_of_the_log(caplog) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    receivers = configured(AlarmTable(stdout=False, webhook=f"http://127.0.0.1:{port}/key=secret"))
    receivers.raise_(ALARM)
    receivers.close()
    until(lambda: "alarm lost, webhook at 127.0.0.1" in caplog.text)
    assert "secret" not in caplog.text
