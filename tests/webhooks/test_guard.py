import ipaddress
import socket
import time

import pytest
from django.test import override_settings
from hypothesis import example, given
from hypothesis import strategies as st
from pytest_django.fixtures import Settings

from webhooks import guard

pytestmark = pytest.mark.once

FORBIDDEN = {
    "loopback": ["127.0.0.1", "127.0.0.53", "127.255.255.254", "::1"],
    "private": ["10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "192.168.255.255"],
    "unique local": ["fc00::1", "fd00:ec2::254", "fdff:ffff::1"],
    "link-local": ["169.254.0.1", "169.254.169.254", "169.254.170.2", "fe80::1", "fe80::a9fe:a9fe", "febf::1"],
    "metadata": ["192.0.0.192", "100.100.100.200"],
    "shared": ["100.64.0.1", "100.127.255.254"],
    "this network": ["0.0.0.0", "0.0.0.1", "0.255.255.255", "::"],  # noqa: S104
    "broadcast": ["255.255.255.255"],
    "multicast": ["224.0.0.1", "239.255.255.250", "ff02::1", "ff0e::1"],
    "reserved": ["240.0.0.1", "254.255.255.255", "1::1", "4000::1", "8000::1", "e000::1", "f000::1", "fe00::1"],
    "documentation": ["192.0.2.1", "198.51.100.7", "203.0.113.9", "2001:db8::1", "3fff::1", "3fff:fff:ffff::1"],
    "benchmarking": ["198.18.0.1", "198.19.255.255", "2001:2::1"],
    "protocol assignments": ["192.0.0.1", "192.0.0.8", "192.0.0.9", "192.0.0.170", "2001::1", "2001:1ff:ffff::1"],
    "6to4 relay": ["192.88.99.1", "192.88.99.255"],
    "IPv4 mapped": ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:7f00:1", "::ffff:0:0"],
    "IPv4 compatible": ["::127.0.0.1", "::7f00:1", "::8.8.8.8"],
    "IPv4 translated": ["::ffff:0:127.0.0.1", "::ffff:0:a9fe:a9fe"],
    "NAT64": ["64:ff9b::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::8.8.8.8", "64:ff9b:1::a00:1"],
    "6to4": ["2002:7f00:1::", "2002:a00:1::1", "2002:808:808::1"],
    "Teredo, ORCHID": ["2001:0:7f00:1::1", "2001:10::1", "2001:20::1"],
    "discard": ["100::1"],
    "segment routing": ["5f00::1"],
    "site-local": ["fec0::1", "feff::1"],
}
PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "100.63.255.255",
    "100.128.0.1",
    "172.32.0.1",
    "192.0.1.1",
    "2606:4700::1111",
    "2a00::1",
]
PUBLIC_MAPPED = "::ffff:8.8.8.8"

# Spellings that resolvers turn into loopback, private or link-local addresses.
SPELLINGS = [
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0X7F000001",
    "0x7f.1",
    "0x7f.0x0.0x0.0x1",
    "0177.0.0.1",
    "0177.0.0.01",
    "017700000001",
    "0",
    "0x0",
    "10.1",
    "0xa.1",
    "012.1",
    "192.168.1",
    "3232235521",
    "0xa9fea9fe",
    "169.254.43518",
    "0251.0376.0251.0376",
    "0:0:0:0:0:0:0:1",
    "0000:0000:0000:0000:0000:0000:0000:0001",
    "::0001",
    "::FFFF:127.0.0.1",
    "0:0:0:0:0:ffff:7f00:0001",
    "FE80::1",
    "localhost",
    "LOCALHOST",
]

# The registries of special-purpose addresses (IANA, RFC 6890 and its successors), by their first and last address, and
# what an address of IPv6 may hide an address of IPv4 in. Written down once more, and not read from the product.
SPECIAL_V4 = [
    ("0.0.0.0", "0.255.255.255"),  # noqa: S104
    ("10.0.0.0", "10.255.255.255"),
    ("100.64.0.0", "100.127.255.255"),
    ("127.0.0.0", "127.255.255.255"),
    ("169.254.0.0", "169.254.255.255"),
    ("172.16.0.0", "172.31.255.255"),
    ("192.0.0.0", "192.0.0.255"),
    ("192.0.2.0", "192.0.2.255"),
    ("192.88.99.0", "192.88.99.255"),
    ("192.168.0.0", "192.168.255.255"),
    ("198.18.0.0", "198.19.255.255"),
    ("198.51.100.0", "198.51.100.255"),
    ("203.0.113.0", "203.0.113.255"),
    ("224.0.0.0", "255.255.255.255"),
]
HIDING_V4 = ["::ffff:{}", "::{}", "::ffff:0:{}", "64:ff9b::{}", "64:ff9b:1::{}", "2002:{hex}::1", "2001:0:{hex}::1"]
# The only addresses of IPv6 that are given to anybody to be reached at (RFC 4291, 2.4), and the parts taken out of it.
GLOBAL_V6 = ipaddress.ip_network("2000::/3")
SPECIAL_V6 = [ipaddress.ip_network(part) for part in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")]

v4_addresses = st.one_of(
    st.ip_addresses(v=4),
    st.sampled_from(SPECIAL_V4).flatmap(
        lambda bounds: st.integers(*(int(ipaddress.IPv4Address(bound)) for bound in bounds)).map(ipaddress.IPv4Address)
    ),
)
v6_addresses = st.one_of(
    st.ip_addresses(v=6),
    st.integers(int(GLOBAL_V6[0]), int(GLOBAL_V6[-1])).map(ipaddress.IPv6Address),
    st.sampled_from(SPECIAL_V6).flatmap(
        lambda part: st.integers(int(part[0]), int(part[-1])).map(ipaddress.IPv6Address)
    ),
)


def is_special(address: ipaddress.IPv4Address) -> bool:
    return any(ipaddress.IPv4Address(first) <= address <= ipaddress.IPv4Address(last) for first, last in SPECIAL_V4)


@pytest.fixture(autouse=True)
def _nothing_allowed(settings: Settings) -> None:
    settings.WEBHOOK_ALLOWED_NETWORKS = []
    settings.DEBUG = False


def check(address: str, *, encrypted: bool = True) -> None:
    guard.check_address(ipaddress.ip_address(address), host="shop.example", encrypted=encrypted)


def answer_with(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Names resolve to `addresses`; the names that were looked up."""
    asked: list[str] = []

    def getaddrinfo(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        asked.append(host)
        return [
            (socket.AF_INET6 if ":" in a else socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


class TestCheckAddress:
    @pytest.mark.parametrize(
        ("kind", "address"), [(kind, address) for kind, addresses in FORBIDDEN.items() for address in addresses]
    )
    def test_refuses(self, kind: str, address: str) -> None:
        with pytest.raises(guard.BlockedAddress, match="not a public address"):
            check(address)

    def test_has_a_table_worth_the_name(self) -> None:
        assert len({address for addresses in FORBIDDEN.values() for address in addresses}) + len(SPELLINGS) >= 60

    @pytest.mark.parametrize("address", [*PUBLIC, PUBLIC_MAPPED])
    def test_lets_the_public_internet_through(self, address: str) -> None:
        check(address)

    @pytest.mark.parametrize("address", PUBLIC)
    def test_refuses_plain_http_to_it(self, address: str) -> None:
        with pytest.raises(guard.BlockedAddress, match="use https"):
            check(address, encrypted=False)

    def test_lets_plain_http_through_while_developing(self, settings: Settings) -> None:
        settings.DEBUG = True

        check("8.8.8.8", encrypted=False)

    @pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "fd12::1"])
    @pytest.mark.parametrize("encrypted", [True, False])
    def test_lets_through_what_the_operator_allows(self, address: str, encrypted: bool, settings: Settings) -> None:
        settings.WEBHOOK_ALLOWED_NETWORKS = ["10.1.0.0/16", "fd12::/32"]

        check(address, encrypted=encrypted)

    @pytest.mark.parametrize("address", ["10.2.0.1", "127.0.0.1", "fd13::1", "169.254.169.254"])
    def test_allows_no_more_than_that(self, address: str, settings: Settings) -> None:
        settings.WEBHOOK_ALLOWED_NETWORKS = ["10.1.0.0/16", "fd12::/32"]

        with pytest.raises(guard.BlockedAddress):
            check(address)

    def test_is_an_exception_urllib3_does_not_wrap_away(self) -> None:
        assert not issubclass(guard.BlockedAddress, OSError)
        assert not issubclass(guard.UnknownHost, OSError)


def is_let_through(address: object) -> bool:
    with override_settings(WEBHOOK_ALLOWED_NETWORKS=[], DEBUG=False):
        try:
            check(str(address))
        except guard.BlockedAddress:
            return False
        return True


class TestAnyAddress:
    @given(v4_addresses)
    @example(ipaddress.IPv4Address("192.0.0.192"))
    def test_of_ipv4_is_let_through_exactly_if_it_is_nobodys_special_one(self, address: ipaddress.IPv4Address) -> None:
        assert is_let_through(address) is not is_special(address)

    @given(v4_addresses, st.sampled_from(HIDING_V4))
    def test_of_ipv4_gains_nothing_by_hiding_in_one_of_ipv6(self, address: ipaddress.IPv4Address, form: str) -> None:
        halves = f"{int(address) >> 16:x}:{int(address) & 0xFFFF:x}"
        hidden = form.format(address, hex=halves)

        # A mapped one is the same address; the others lead through somebody's translator or tunnel.
        assert is_let_through(hidden) is (form == "::ffff:{}" and not is_special(address))

    @given(v6_addresses)
    def test_of_ipv6_is_let_through_only_if_somebody_can_be_reached_at_it(self, address: ipaddress.IPv6Address) -> None:
        is_somebodys = address in GLOBAL_V6 and not any(address in part for part in SPECIAL_V6)
        is_mapped = address.ipv4_mapped is not None and not is_special(address.ipv4_mapped)

        assert is_let_through(address) is (is_somebodys or is_mapped)

    @given(v4_addresses | v6_addresses, st.integers(0, 128))
    def test_that_an_operator_allows_is_let_through_whatever_it_is(
        self, address: ipaddress.IPv4Address | ipaddress.IPv6Address, prefix: int
    ) -> None:
        address = getattr(address, "ipv4_mapped", None) or address
        network = ipaddress.ip_network((address, min(prefix, address.max_prefixlen)), strict=False)

        with override_settings(WEBHOOK_ALLOWED_NETWORKS=[str(network)], DEBUG=False):
            check(str(address), encrypted=False)


class TestResolve:
    @pytest.mark.parametrize("spelling", SPELLINGS)
    def test_sees_through_odd_spellings_of_addresses(self, spelling: str) -> None:
        with pytest.raises(guard.BlockedAddress, match="not a public address"):
            guard.resolve(spelling, 443, encrypted=True, timeout_s=5)

    def test_refuses_a_name_with_one_forbidden_address_among_good_ones(self, monkeypatch: pytest.MonkeyPatch) -> None:
        answer_with(monkeypatch, "8.8.8.8", "1.1.1.1", "10.0.0.1")

        with pytest.raises(guard.BlockedAddress, match=r"shop\.example leads to 10\.0\.0\.1"):
            guard.resolve("shop.example", 443, encrypted=True, timeout_s=5)

    def test_refuses_a_link_local_address_with_its_zone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        answer_with(monkeypatch, "fe80::1%eth0")

        with pytest.raises(guard.BlockedAddress):
            guard.resolve("shop.example", 443, encrypted=True, timeout_s=5)

    def test_looks_a_name_up_once_and_gives_every_address(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = answer_with(monkeypatch, "8.8.8.8", "2606:4700::1111")

        places = guard.resolve("shop.example", 443, encrypted=True, timeout_s=5)

        assert [place[4][0] for place in places] == ["8.8.8.8", "2606:4700::1111"]
        assert asked == ["shop.example"]

    @pytest.mark.parametrize(
        "host", ["nowhere.invalid", "a" * 64 + ".example", "..", "exa mple.com", "xn--.example\x00"]
    )
    def test_says_that_a_name_is_unknown(self, host: str) -> None:
        with pytest.raises(guard.UnknownHost, match="cannot be found"):
            guard.resolve(host, 443, encrypted=True, timeout_s=5)

    def test_waits_for_a_slow_name_server_no_longer_than_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(1))
        started = time.monotonic()

        with pytest.raises(guard.UnknownHost, match="no answer in"):
            guard.resolve("slow.example", 443, encrypted=True, timeout_s=0.1)

        assert time.monotonic() - started < 0.5
