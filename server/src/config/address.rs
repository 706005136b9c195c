//! Listen strings: where a listener waits for connections. Numeric only, so that starting never
//! waits for a name server. `:8080` is every address of both families.

use super::value::{Typed, Written, Wrong, quote};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// The address of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `:8080`: every local address, IPv6 and IPv4 on one socket (IPv4 only where the kernel has no
    /// IPv6).
    Any(u16),
    /// `127.0.0.1:8080`, `[::]:443` (that is IPv6 alone); port 0 lets the kernel choose.
    Ip(SocketAddr),
    /// `unix:/run/ringway.sock`; a leading `@` is a name in the abstract namespace.
    Unix(PathBuf),
    /// `fd:3` or `fd:NAME`: a listening socket that was handed over at start, by its number or by
    /// its name in `LISTEN_FDNAMES`.
    Fd(Descriptor),
}

/// How an inherited listening socket is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Descriptor {
    /// The descriptor's number.
    Number(i32),
    /// The name that the service manager gave it.
    Name(String),
}

impl Address {
    /// The port, where there is one.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Any(port) => Some(*port),
            Self::Ip(address) => Some(address.port()),
            Self::Unix(_) | Self::Fd(_) => None,
        }
    }

    /// Whether two listeners on these addresses certainly conflict. Port 0 never does.
    pub fn collides(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any(a), Self::Any(b)) => a == b && *a != 0,
            (Self::Any(a), Self::Ip(b)) | (Self::Ip(b), Self::Any(a)) => *a == b.port() && *a != 0,
            (Self::Ip(a), Self::Ip(b)) => a == b && a.port() != 0,
            _ => self == other,
        }
    }

    /// Whether only this machine can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Any(_) => false,
            Self::Ip(address) => address.ip().is_loopback(),
            Self::Unix(_) | Self::Fd(_) => true,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any(port) => write!(out, ":{port}"),
            Self::Ip(address) => write!(out, "{address}"),
            Self::Unix(path) => write!(out, "unix:{}", path.display()),
            Self::Fd(Descriptor::Number(number)) => write!(out, "fd:{number}"),
            Self::Fd(Descriptor::Name(name)) => write!(out, "fd:{name}"),
        }
    }
}

/// Why a listen string is invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadAddress {
    message: String,
    hint: Option<String>,
}

impl fmt::Display for BadAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(out, "; did you mean {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for BadAddress {}

impl std::str::FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        parse(text).map_err(|wrong| BadAddress { message: wrong.message, hint: wrong.hint })
    }
}

impl Typed for Address {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        parse(written.text("an address like \"127.0.0.1:8080\"")?)
    }

    fn show(&self) -> String {
        quote(&self.to_string())
    }
}

fn parse(text: &str) -> Result<Address, Wrong> {
    let wrong = |why: &str| Wrong::new(format!("`{text}` is not an address to listen on: {why}"));
    if let Some(path) = text.strip_prefix("unix:") {
        // The kernel's sun_path holds 108 bytes with the NUL.
        if path.is_empty() || path.len() > 107 || path.contains('\0') {
            return Err(wrong("a socket path has 1 to 107 bytes"));
        }
        return Ok(Address::Unix(PathBuf::from(path)));
    }
    if let Some(name) = text.strip_prefix("fd:") {
        return match name.parse::<i32>() {
            Ok(number) if number >= 3 => Ok(Address::Fd(Descriptor::Number(number))),
            Ok(_) => Err(wrong("handed over descriptors start at 3")),
            Err(_) if name.is_empty() || name.contains(':') => {
                Err(wrong("fd: wants a number or a name"))
            }
            Err(_) => Ok(Address::Fd(Descriptor::Name(name.to_owned()))),
        };
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(Address::Ip(address));
    }
    if text.starts_with('/') {
        return Err(wrong("a path needs its prefix").meant(format!("unix:{text}")));
    }
    if text.parse::<u16>().is_ok() {
        return Err(
            wrong("a port alone is ambiguous").meant(format!("127.0.0.1:{text} or :{text}"))
        );
    }
    if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Err(wrong("the port is missing").meant(SocketAddr::new(ip, 8080).to_string()));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(wrong("the port is missing").meant(format!("{text}:8080")));
    };
    let Ok(port) = port.parse::<u16>() else {
        return Err(wrong("a port is a number up to 65535"));
    };
    match host {
        "" => Ok(Address::Any(port)),
        "*" => Err(wrong("every address is written without a host").meant(format!(":{port}"))),
        "localhost" => Ok(Address::Ip((Ipv4Addr::LOCALHOST, port).into())),
        _ => Err(match host.parse::<Ipv6Addr>() {
            Ok(ip) => wrong("an IPv6 address stands in brackets").meant(format!("[{ip}]:{port}")),
            Err(_) => wrong("names are not looked up, give the numeric address"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_ones_and_back() {
        for text in [
            ":8080",
            "[::]:443",
            "127.0.0.1:0",
            "unix:/run/r.sock",
            "unix:@abstract",
            "fd:3",
            "fd:web",
            "[::1]:80",
            "0.0.0.0:80",
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
        }
        assert_eq!("localhost:80".parse::<Address>().unwrap().to_string(), "127.0.0.1:80");
    }

    #[test]
    fn bad_ones_say_what_was_meant() {
        for (text, hint) in [
            ("8080", Some("127.0.0.1:8080 or :8080")),
            ("/run/x", Some("unix:/run/x")),
            ("127.0.0.1", Some("127.0.0.1:8080")),
            ("::1:80", Some("[::1:80]:8080")),
            ("*:80", Some(":80")),
            ("example.org:80", None),
            ("127.0.0.1:70000", None),
            ("fd:2", None),
            ("fd:", None),
            ("unix:", None),
            ("", Some(":8080")),
        ] {
            let wrong = text.parse::<Address>().unwrap_err();
            assert_eq!(wrong.hint.as_deref(), hint, "{text}");
        }
    }

    #[test]
    fn collisions() {
        let is = |a: &str, b: &str| {
            a.parse::<Address>().unwrap().collides(&b.parse::<Address>().unwrap())
        };
        assert!(is(":80", "127.0.0.1:80"));
        assert!(is("127.0.0.1:80", "127.0.0.1:80"));
        assert!(!is("127.0.0.1:0", "127.0.0.1:0"));
        assert!(!is("127.0.0.1:80", "127.0.0.2:80"));
        assert!(is("unix:/a", "unix:/a"));
    }
}
