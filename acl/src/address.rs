//! Addresses that rules name: patterns of 4.9's white lists, and networks of 5.x's policies.
//!
//! Source: Apache RocketMQ 4.9.8, `RemoteAddressStrategyFactory`; 5.3.3, `IPAddressUtils`. Unlike Java, a range whose end is 0 is
//! one, and a list may hold patterns.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::RangeInclusive,
};

/// Why a text is no address or pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not {1}")]
pub struct BadAddress(pub String, pub &'static str);

const PATTERN: &str = "*, an address, 10.0.0.{1,2,7}, or ranges behind the first part such as 10.0.0.1-9, 10.0.1-9.*, \
                       fe80:0:0:0:0:0:0:*";
const NETWORK: &str = "an address or a network such as 10.0.0.0/8";
/// Addresses of one pattern's braces, at most.
const SET_MAX: usize = 1_024;

/// A pattern of a white list, as 4.9 writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressPattern {
    /// Blank: matches nothing.
    Nobody,
    /// `*`: matches everybody.
    Everybody,
    /// An IPv4 address with ranges.
    V4(Box<[RangeInclusive<u16>; 4]>),
    /// An IPv6 address with ranges.
    V6(Box<[RangeInclusive<u16>; 8]>),
    /// One of several.
    AnyOf(Vec<AddressPattern>),
}

impl AddressPattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<AddressPattern, BadAddress> {
        let bad = || BadAddress(text.to_owned(), PATTERN);
        let text = text.trim();
        if let Some((before, rest)) = text.split_once('{') {
            let inside = rest.strip_suffix('}').ok_or_else(bad)?;
            let members = inside.split(',').take(SET_MAX + 1);
            let members: Option<Vec<AddressPattern>> = members
                .map(|last| AddressPattern::one(&format!("{before}{}", last.trim())))
                .collect();
            return members
                .filter(|members| members.len() <= SET_MAX)
                .map(AddressPattern::AnyOf)
                .ok_or_else(bad);
        }
        if text.contains(',') {
            let members: Option<Vec<AddressPattern>> =
                text.split(',').map(|member| AddressPattern::one(member.trim())).collect();
            return members.map(AddressPattern::AnyOf).ok_or_else(bad);
        }
        match text {
            "" => Ok(AddressPattern::Nobody),
            _ => AddressPattern::one(text).ok_or_else(bad),
        }
    }

    fn one(text: &str) -> Option<AddressPattern> {
        match text {
            "*" | "*.*.*.*" | "*:*:*:*:*:*:*:*" => Some(AddressPattern::Everybody),
            _ if text.contains(':') => v6(text).map(|parts| AddressPattern::V6(Box::new(parts))),
            _ => {
                let parts: Vec<&str> = text.split('.').collect();
                ranges::<4>(&parts, 10, 255).map(|parts| AddressPattern::V4(Box::new(parts)))
            }
        }
    }

    /// Whether an address is meant.
    pub fn matches(&self, address: IpAddr) -> bool {
        match (self, address.to_canonical()) {
            (AddressPattern::Nobody, _) => false,
            (AddressPattern::Everybody, _) => true,
            (AddressPattern::V4(ranges), IpAddr::V4(address)) => {
                let octets = address.octets();
                ranges.iter().zip(octets).all(|(range, octet)| range.contains(&u16::from(octet)))
            }
            (AddressPattern::V6(ranges), IpAddr::V6(address)) => {
                ranges.iter().zip(address.segments()).all(|(range, part)| range.contains(&part))
            }
            (AddressPattern::AnyOf(patterns), address) => {
                patterns.iter().any(|pattern| pattern.matches(address))
            }
            _ => false,
        }
    }
}

/// `::` stands for as many zeros as are missing.
fn v6(text: &str) -> Option<[RangeInclusive<u16>; 8]> {
    let Some((before, behind)) = text.split_once("::") else {
        return ranges::<8>(&text.split(':').collect::<Vec<_>>(), 16, u16::MAX);
    };
    if before.ends_with(':') || behind.starts_with(':') || behind.contains("::") {
        return None;
    }
    let parts = |text: &'_ str| -> Vec<String> {
        text.split(':').filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    let (before, behind) = (parts(before), parts(behind));
    let zeros = 8_usize.checked_sub(before.len() + behind.len()).filter(|zeros| *zeros > 0)?;
    let zeros = vec!["0".to_owned(); zeros];
    let all = [before, zeros, behind].concat();
    ranges::<8>(&all.iter().map(String::as_str).collect::<Vec<_>>(), 16, u16::MAX)
}

/// Parts of an address: the first is a number, behind a range or `*` stands nothing but `*`.
fn ranges<const COUNT: usize>(
    parts: &[&str],
    radix: u32,
    max: u16,
) -> Option<[RangeInclusive<u16>; COUNT]> {
    let number = |text: &str| {
        let is_digits = !text.is_empty() && text.chars().all(|c| c.is_digit(radix));
        let number = u16::from_str_radix(text, radix).ok();
        number.filter(|number| is_digits && *number <= max)
    };
    let mut open = false;
    let mut found = Vec::with_capacity(COUNT);
    for (index, part) in parts.iter().enumerate() {
        let range = match part.split_once('-') {
            _ if *part == "*" => 0..=max,
            _ if open => return None,
            Some((first, last)) => number(first)?..=number(last)?,
            None => {
                let number = number(part)?;
                found.push(number..=number);
                continue;
            }
        };
        if index == 0 || range.is_empty() {
            return None;
        }
        open = true;
        found.push(range);
    }
    found.try_into().ok()
}

/// An address or a network, as a policy of 5.x names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Reads `10.0.0.1`, `10.0.0.0/8`, `fe80::/10`.
    pub fn parse(text: &str) -> Result<Network, BadAddress> {
        let bad = || BadAddress(text.to_owned(), NETWORK);
        let text = text.trim();
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits.parse().map_err(|_| bad())?,
            None => bits_max,
        };
        if bits > bits_max { Err(bad()) } else { Ok(Network { address, bits }) }
    }

    /// Whether an address lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => same_v4(ours, theirs, self.bits),
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => same_v6(ours, theirs, self.bits),
            _ => false,
        }
    }
}

fn same_v4(one: Ipv4Addr, other: Ipv4Addr, bits: u8) -> bool {
    let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
    (u32::from(one) ^ u32::from(other)) & mask == 0
}

fn same_v6(one: Ipv6Addr, other: Ipv6Addr, bits: u8) -> bool {
    let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
    (u128::from(one) ^ u128::from(other)) & mask == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_what_they_say() {
        for (pattern, inside, outside) in [
            ("", "", "10.0.0.1 ::1"),
            ("*", "10.0.0.1 ::1", ""),
            ("*.*.*.*", "10.0.0.1 ::1", ""),
            ("*:*:*:*:*:*:*:*", "10.0.0.1 ::1", ""),
            ("10.0.0.7", "10.0.0.7 ::ffff:10.0.0.7", "10.0.0.8 ::1"),
            ("10.0.0.{1,2, 7}", "10.0.0.1 10.0.0.2 10.0.0.7", "10.0.0.3"),
            ("10.0.0.1,10.0.0.9, ::1", "10.0.0.1 10.0.0.9 ::1", "10.0.0.2"),
            ("10.10.103.*", "10.10.103.0 10.10.103.255", "10.10.104.1"),
            ("192.168.1-9.*", "192.168.1.0 192.168.9.255", "192.168.0.1 192.168.10.1"),
            ("10.0.0.1-9", "10.0.0.1 10.0.0.9", "10.0.0.0 10.0.0.10"),
            ("10.0.0.0-0", "10.0.0.0", "10.0.0.1"),
            ("10.*.*.*", "10.1.2.3", "11.1.2.3"),
            (
                "1050:0000:0000:0000:0005:0600:300c:1-1a",
                "1050::5:600:300c:1a",
                "1050::5:600:300c:1b",
            ),
            ("fe80:0:0:0:0:0:0:*", "fe80::1 fe80::ffff", "fe80::1:1"),
            ("fe80::{1,2}", "fe80::1 fe80::2", "fe80::3"),
            ("::1", "::1", "::2 0.0.0.1"),
        ] {
            let read = AddressPattern::parse(pattern).expect(pattern);
            for (addresses, expected) in [(inside, true), (outside, false)] {
                for address in addresses.split_whitespace() {
                    let matched = read.matches(address.parse().expect("an address"));
                    assert_eq!(matched, expected, "{pattern} {address}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for bad in [
            "10",
            "10.0.0",
            "10.0.0.256",
            "10.0.0.0.1",
            "*.0.0.1",
            "10.0.*.1",
            "10.0.9-1.*",
            "1-2.*.*.*",
            "10.0.0.{1,2",
            "10.0.0.{}",
            "10.0.0.{1,}",
            "10.0.0.1,",
            "host",
            "fe80::1::2",
            ":::",
            "+1.0.0.0",
            "10.0.0.1-",
            "1:2:3:4:5:6:7:8:9",
            "1:2:3:4:5:6:7::8",
            "10.0.0.1/8",
        ] {
            assert!(AddressPattern::parse(bad).is_err(), "{bad}");
        }
        let many = format!("10.0.0.{{{}}}", "1,".repeat(100_000));
        assert!(AddressPattern::parse(&many).is_err());
    }

    #[test]
    fn networks_hold_their_addresses() {
        for (network, address, inside) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("0.0.0.0/0", "::1", false),
            ("fe80::/10", "febf::1", true),
            ("fe80::/10", "fec0::1", false),
            ("::/0", "::1", true),
            ("192.168.0.0/16", "::ffff:192.168.3.4", true),
        ] {
            let read = Network::parse(network).expect(network);
            assert_eq!(read.contains(address.parse().expect("one")), inside, "{network} {address}");
        }
        for bad in ["", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.*", "x", "10.0.0.0/-1"] {
            assert!(Network::parse(bad).is_err(), "{bad}");
        }
    }
}
