//! Which addresses may be dialled: a name is only as trustworthy as what it resolves to today.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What kind of place an address is. An address that embeds an IPv4 address (mapped, NAT64, 6to4) is what that one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressClass {
    /// Reachable over the public internet.
    Global,
    /// This machine.
    Loopback,
    /// A private, shared or benchmarking network; dialled only where that was allowed for the origin.
    Private,
    /// Never a provider: unspecified, link-local, multicast, reserved, or a cloud's metadata service.
    Never,
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Global => "a global address",
            Self::Loopback => "a loopback address",
            Self::Private => "a private address",
            Self::Never => "a link-local, metadata or reserved address",
        })
    }
}

impl AddressClass {
    /// The class of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::of_v4(v4),
            IpAddr::V6(v6) => Self::of_v6(v6),
        }
    }

    /// After the IANA IPv4 Special-Purpose Address Registry.
    #[expect(clippy::match_same_arms, reason = "a line for each kind of place")]
    fn of_v4(address: Ipv4Addr) -> Self {
        match address.octets() {
            [127, ..] => Self::Loopback,
            // A metadata service inside the shared range; the rest of 169.254.0.0/16 follows as link-local.
            [100, 100, 100, 200] => Self::Never,
            [0 | 224..=255, ..] | [169, 254, ..] | [192, 0, 0, _] => Self::Never,
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Self::Private,
            [100, 64..=127, ..] | [198, 18..=19, ..] => Self::Private,
            [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Self::Private,
            _ => Self::Global,
        }
    }

    /// After the IANA IPv6 Special-Purpose Address Registry.
    #[expect(clippy::match_same_arms, reason = "a line for each kind of place")]
    fn of_v6(address: Ipv6Addr) -> Self {
        if address.is_loopback() {
            return Self::Loopback;
        }
        let embedded = |high: u16, low: u16| Self::of_v4(Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low)));
        match address.segments() {
            [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => embedded(high, low),
            // Unspecified, IPv4-compatible (deprecated), Teredo, discard-only.
            [0, 0, 0, 0, 0, 0, ..] | [0x2001, 0, ..] | [0x100, 0, 0, 0, ..] => Self::Never,
            [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] => Self::Never,
            [0xfe80..=0xfebf | 0xff00..=0xffff, ..] => Self::Never,
            // Unique local, site-local (deprecated), local-use NAT64, documentation.
            [0xfc00..=0xfdff | 0xfec0..=0xfeff, ..] | [0x64, 0xff9b, 1, ..] | [0x2001, 0xdb8, ..] => Self::Private,
            // Unassigned and other special space: only 2000::/3 is global unicast.
            [0x2000..=0x3fff, ..] => Self::Global,
            _ => Self::Never,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_special_address_has_its_class() {
        let table = [
            ("1.1.1.1", AddressClass::Global),
            ("172.15.255.255", AddressClass::Global),
            ("172.32.0.1", AddressClass::Global),
            ("100.63.255.255", AddressClass::Global),
            ("100.128.0.1", AddressClass::Global),
            ("2606:4700::1111", AddressClass::Global),
            ("::ffff:8.8.8.8", AddressClass::Global),
            ("64:ff9b::8.8.8.8", AddressClass::Global),
            ("127.0.0.1", AddressClass::Loopback),
            ("127.255.255.254", AddressClass::Loopback),
            ("::1", AddressClass::Loopback),
            ("::ffff:127.0.0.1", AddressClass::Loopback),
            ("2002:7f00:1::", AddressClass::Loopback),
            ("10.0.0.1", AddressClass::Private),
            ("172.16.0.1", AddressClass::Private),
            ("172.31.255.255", AddressClass::Private),
            ("192.168.1.1", AddressClass::Private),
            ("100.64.0.1", AddressClass::Private),
            ("100.127.255.255", AddressClass::Private),
            ("198.18.0.1", AddressClass::Private),
            ("203.0.113.9", AddressClass::Private),
            ("fc00::1", AddressClass::Private),
            ("fdff::1", AddressClass::Private),
            ("fec0::1", AddressClass::Private),
            ("64:ff9b:1::1", AddressClass::Private),
            ("64:ff9b::10.0.0.1", AddressClass::Private),
            ("2002:a00:1::", AddressClass::Private),
            ("2001:db8::1", AddressClass::Private),
            ("0.0.0.0", AddressClass::Never),
            ("0.1.2.3", AddressClass::Never),
            ("169.254.169.254", AddressClass::Never),
            ("169.254.170.2", AddressClass::Never),
            ("100.100.100.200", AddressClass::Never),
            ("192.0.0.192", AddressClass::Never),
            ("224.0.0.1", AddressClass::Never),
            ("240.0.0.1", AddressClass::Never),
            ("255.255.255.255", AddressClass::Never),
            ("::", AddressClass::Never),
            ("::8.8.8.8", AddressClass::Never),
            ("::ffff:169.254.169.254", AddressClass::Never),
            ("::ffff:0.0.0.0", AddressClass::Never),
            ("64:ff9b::169.254.169.254", AddressClass::Never),
            ("64:ff9b::6464:64c8", AddressClass::Never),
            ("2002:a9fe:a9fe::", AddressClass::Never),
            ("fd00:ec2::254", AddressClass::Never),
            ("fe80::1", AddressClass::Never),
            ("febf::1", AddressClass::Never),
            ("ff02::1", AddressClass::Never),
            ("2001::1", AddressClass::Never),
            ("100::1", AddressClass::Never),
            ("4000::1", AddressClass::Never),
        ];
        for (text, class) in table {
            assert_eq!(AddressClass::of(text.parse().unwrap()), class, "{text}");
        }
    }
}
