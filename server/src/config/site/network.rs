//! `access`: who may ask, by address.

use super::super::block::{Block, inline};
use super::super::value::{Typed, Written, Wrong, quote};
use super::pattern::PathPattern;
use std::net::IpAddr;

/// `access`: whether requests from some addresses are answered. The first rule that matches
/// decides; where none does, they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRule {
    /// The paths; all without.
    pub path: Option<PathPattern>,
    /// Whether the addresses are let in.
    pub allows: bool,
    /// The addresses.
    pub networks: Vec<Network>,
}

/// Addresses with the same first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Every address, and clients without one: those of Unix sockets.
    All,
    /// Those whose first bits are the address's.
    Prefix(IpAddr, u8),
}

impl Network {
    /// Whether `address` is one of them. IPv4 addresses in IPv6 count as IPv4.
    pub fn contains(self, address: Option<IpAddr>) -> bool {
        match (self, address.map(|address| address.to_canonical())) {
            (Self::All, _) => true,
            (Self::Prefix(IpAddr::V4(network), bits), Some(IpAddr::V4(address))) => {
                let differ = network.to_bits() ^ address.to_bits();
                differ.leading_zeros() >= u32::from(bits)
            }
            (Self::Prefix(IpAddr::V6(network), bits), Some(IpAddr::V6(address))) => {
                let differ = network.to_bits() ^ address.to_bits();
                differ.leading_zeros() >= u32::from(bits)
            }
            (Self::Prefix(..), _) => false,
        }
    }

    /// `address` without the bits that are not part of the network.
    fn first(address: IpAddr, bits: u8) -> IpAddr {
        let off = |width: u32| width.saturating_sub(u32::from(bits));
        match address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(off(32)).unwrap_or(0);
                IpAddr::V4((address.to_bits() & mask).into())
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(off(128)).unwrap_or(0);
                IpAddr::V6((address.to_bits() & mask).into())
            }
        }
    }
}

impl Typed for Network {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        let wanted = "addresses like \"10.0.0.0/8\", \"2001:db8::/32\", \"192.0.2.1\" or \"all\"";
        let text = written.text(wanted)?;
        if text == "all" {
            return Ok(Self::All);
        }
        let wrong = || Wrong::new(format!("expected {wanted}, found \"{text}\""));
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let bare = address.trim_start_matches('[').trim_end_matches(']');
        let address: IpAddr = bare.parse().map_err(|_| wrong())?;
        if bare.len() != text.split('/').next().map_or(0, str::len) {
            return Err(wrong().meant(quote(&text.replace(['[', ']'], ""))));
        }
        let width = if address.is_ipv4() { 32 } else { 128 };
        let is_number = |bits: &str| bits.bytes().all(|byte| byte.is_ascii_digit());
        let bits = match bits {
            None => width,
            Some(bits) if is_number(bits) => bits.parse().map_err(|_| wrong())?,
            Some(_) => return Err(wrong()),
        };
        if bits > width {
            return Err(Wrong::new(format!("\"{text}\": an address has {width} bits")));
        }
        let first = Self::first(address, bits);
        if first != address {
            let wrong = Wrong::new(format!("\"{text}\" has bits behind the first {bits}"));
            return Err(wrong.meant(quote(&format!("{first}/{bits}"))));
        }
        Ok(Self::Prefix(address, bits))
    }

    fn show(&self) -> String {
        match self {
            Self::All => quote("all"),
            Self::Prefix(address, bits) => quote(&format!("{address}/{bits}")),
        }
    }
}

impl Typed for AccessRule {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        let block = Block::of(written, &["path", "allow", "deny"])?;
        let path = block.maybe("path")?;
        let (allow, deny): (Option<Vec<Network>>, Option<Vec<Network>>) =
            (block.maybe("allow")?, block.maybe("deny")?);
        match (allow, deny) {
            (Some(networks), None) => Ok(Self { path, allows: true, networks }),
            (None, Some(networks)) => Ok(Self { path, allows: false, networks }),
            (Some(_), Some(_)) => Err(Wrong::new(
                "`allow` and `deny` in one rule: which is first? Write two rules, the first that \
                 matches decides",
            )),
            (None, None) => Err(Wrong::new("`allow` or `deny` is missing")),
        }
    }

    fn show(&self) -> String {
        let key = if self.allows { "allow" } else { "deny" };
        inline(&[("path", self.path.show()), (key, self.networks.show())])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Network, Option<String>> {
        Network::parse(&Written::loose(text)).map_err(|wrong| wrong.hint)
    }

    #[test]
    fn networks_of_both_families() {
        for (network, address, wanted) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("0.0.0.0/0", "::1", false),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1/32", "192.0.2.2", false),
            ("2001:db8::/33", "2001:db8:7fff::1", true),
            ("2001:db8::/33", "2001:db8:8000::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "10.0.0.1", false),
            ("::1", "::1", true),
            ("all", "::1", true),
        ] {
            let made = parse(network).unwrap();
            assert_eq!(made.contains(address.parse().ok()), wanted, "{network} {address}");
        }
        assert!(Network::All.contains(None) && !parse("::/0").unwrap().contains(None));
    }

    #[test]
    fn what_is_no_network() {
        for (text, meant) in [
            ("10.0.0.1/8", Some("\"10.0.0.0/8\"")),
            ("2001:db8::1/32", Some("\"2001:db8::/32\"")),
            ("[::1]", Some("\"::1\"")),
            ("10.0.0.0/33", None),
            ("10.0.0/8", None),
            ("10.0.0.0/+8", None),
            ("example.com", None),
            ("10.0.0.0/", None),
            ("", None),
        ] {
            assert_eq!(parse(text), Err(meant.map(str::to_owned)), "{text}");
        }
    }
}
