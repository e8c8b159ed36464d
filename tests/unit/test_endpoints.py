"""Certificates of a configuration are read once, and what cannot be read is named."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme

from ampgate.config import Config, parse
from ampgate.endpoints import endpoints, upstream_url
from ampgate.settings import ConfigError

pytestmark = pytest.mark.unit


def config(external: str, upstream: str = "") -> Config:
    return parse(
        f'[gateway]\nmode = "external"\n[ocpp.external]\nhost = "cs"\n{external}\n'
        f'[[charger]]\nid = "CP1"\n[charger.upstream]\n{upstream}\n[[charger]]\nid = "CP2"\n'
    )


def test_ports_and_users() -> None:
    plain = endpoints(config('path = "/a"', 'password = "p"'))
    assert plain["CP1"].url("CP1") == "ws://cs:80/a/CP1"
    assert (plain["CP1"].user, plain["CP1"].password, plain["CP2"].password) == ("CP1", "p", "")
    named = endpoints(config("port = 8080\nping_interval = 5", 'user = "u"\npassword = "p"'))
    assert (named["CP1"].user, named["CP1"].port, named["CP1"].ping_interval) == ("u", 8080, 5)
    assert upstream_url(config('path = "/a/"')) == "ws://cs:80/a/<charger id>"
    assert upstream_url(config("tls = true")) == "wss://cs:443/<charger id>"
    assert upstream_url(Config()) == ""
    assert endpoints(Config()) == {}


def test_certificates(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("CP1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "CP1.pem")
    found = endpoints(config(f'tls = true\nca = "{tmp_path}/ca.pem"', f'certificate = "{tmp_path}/CP1.pem"'))
    tls = found["CP1"].tls
    assert tls is not None
    assert (tls.verify_mode, tls.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert tls.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert len(tls.get_ca_certs()) == 1  # that authority, and no other
    assert found["CP1"].port == 443


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    (tmp_path / "text.pem").write_text("no certificate")

    def problems(external: str, upstream: str = "") -> list[str]:
        with pytest.raises(ConfigError) as error:
            endpoints(config(f"tls = true\n{external}", upstream))
        return error.value.problems

    missing = f"{tmp_path}/none.pem"
    assert problems(f'ca = "{missing}"', f'certificate = "{missing}"\nkey = "{missing}"') == [
        f'ocpp.external.ca = "{missing}" must be a PEM file that the gateway can read: No such file or directory',
        f'charger[0].upstream.certificate = "{missing}" must be a PEM file that the gateway can read: '
        "No such file or directory",
        f'charger[0].upstream.key = "{missing}" must be a PEM file that the gateway can read: '
        "No such file or directory",
    ]
    [problem] = problems(f'ca = "{tmp_path}/text.pem"')
    assert problem.startswith(f'ocpp.external.ca = "{tmp_path}/text.pem" must be a PEM file with certificates')
    [problem] = problems("", f'certificate = "{tmp_path}/ca.pem"')  # a certificate without its key
    assert problem.startswith(f'charger[0].upstream.certificate = "{tmp_path}/ca.pem" must be a PEM file with a cert')
