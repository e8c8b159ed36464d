"""Address conflict detection against RFC 5227; the packets against RFC 826."""

from ipaddress import IPv4Address

import pytest

from ampgate.system.network.acd import LONGEST, Arp, ConflictDetector, Verdict

ADDRESS = IPv4Address("192.168.100.246")
NOBODY = IPv4Address("0.0.0.0")
OURS = bytes.fromhex("020000000001")
THEIRS = bytes.fromhex("020000000002")


def latest(low, high):
    return high


def detector(now=100.0):
    return ConflictDetector(ADDRESS, OURS, now, spread=latest)


def run(found, now=100.0):
    """Everything it sends until nothing is left to do, as (seconds, packet)."""
    sent = []
    begin = now
    while found.next is not None:
        now = found.next
        if packet := found.due(now):
            sent.append((now - begin, packet))
    return sent, now


def claimed():
    found = detector()
    _, now = run(found)
    found.claim(now)
    run(found, now)
    return found, now


def test_a_probe_is_the_packet_of_rfc_5227():
    """§1.1: request, sender address 0, target hardware address 0."""
    found = detector()
    packet = found.due(101.0)
    assert packet.encode().hex() == (
        "0001080006040001" + "020000000001" + "00000000" + "000000000000" + "c0a864f6"
    )  # fmt: skip


def test_an_announcement_has_the_address_in_both_places():
    found = detector()
    _, now = run(found)
    found.claim(now)
    packet = found.due(now)
    assert packet.encode().hex() == (
        "0001080006040001" + "020000000001" + "c0a864f6" + "000000000000" + "c0a864f6"
    )  # fmt: skip


def test_probes_have_the_intervals_of_the_rfc():
    """§2.1.1: a wait of 0…1 s, three probes 1…2 s apart, then 2 s of silence."""
    found = detector()
    sent, now = run(found)
    assert [at for at, _ in sent] == [1.0, 3.0, 5.0]
    assert found.verdict is Verdict.FREE
    assert now - 100.0 == LONGEST == 7.0


def test_two_announcements_two_seconds_apart():
    found = detector()
    _, now = run(found)
    found.claim(now)
    sent, _ = run(found, now)
    assert [at for at, _ in sent] == [0.0, 2.0]


@pytest.mark.parametrize(
    "packet",
    [
        Arp(2, THEIRS, ADDRESS, NOBODY),
        Arp(1, THEIRS, ADDRESS, IPv4Address("192.168.100.1")),
        Arp(1, THEIRS, ADDRESS, ADDRESS),
        Arp(1, THEIRS, NOBODY, ADDRESS),
    ],
    ids=["reply", "request", "announcement", "probe of a rival"],
)
def test_a_conflict_while_probing(packet):
    found = detector()
    found.due(101.0)
    assert found.hear(packet, 101.5) is None
    assert found.verdict is Verdict.IN_USE
    assert found.rival == THEIRS
    assert found.next is None


@pytest.mark.parametrize(
    "packet",
    [
        Arp(1, OURS, NOBODY, ADDRESS),
        Arp(1, THEIRS, IPv4Address("192.168.100.1"), ADDRESS),
        Arp(1, THEIRS, NOBODY, IPv4Address("192.168.100.7")),
        Arp(2, THEIRS, IPv4Address("192.168.100.1"), IPv4Address("192.168.100.7")),
    ],
    ids=["own probe", "somebody asks for it", "probe for another", "others talk"],
)
def test_no_conflict(packet):
    found = detector()
    found.hear(packet, 100.5)
    assert found.verdict is Verdict.PROBING


def test_a_conflict_between_the_last_probe_and_the_claim():
    found = detector()
    run(found)
    found.hear(Arp(2, THEIRS, ADDRESS, NOBODY), 108.0)
    assert found.verdict is Verdict.IN_USE


def test_an_address_is_defended_once_in_ten_seconds():
    """§2.4 (b)."""
    found, now = claimed()
    intruder = Arp(1, THEIRS, ADDRESS, ADDRESS)
    assert found.hear(intruder, now) == Arp(1, OURS, ADDRESS, ADDRESS)
    assert found.hear(intruder, now + 10.0) == Arp(1, OURS, ADDRESS, ADDRESS)
    assert found.verdict is Verdict.CLAIMED
    assert found.hear(intruder, now + 19.9) is None
    assert found.verdict is Verdict.IN_USE


def test_a_probe_for_a_claimed_address_is_the_kernels_to_answer():
    found, now = claimed()
    assert found.hear(Arp(1, THEIRS, NOBODY, ADDRESS), now) is None
    assert found.verdict is Verdict.CLAIMED


def test_packets_survive_encoding_and_padding():
    packet = Arp(2, THEIRS, ADDRESS, IPv4Address("10.0.0.1"))
    assert Arp.decode(packet.encode() + bytes(18)) == packet


@pytest.mark.parametrize("data", [b"", b"\x00\x01\x08\x00\x06\x04", b"\x00\x01\x86\xdd\x06\x04" + bytes(22)])
def test_other_packets_are_none(data):
    assert Arp.decode(data) is None
