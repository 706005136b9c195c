//! The things that can be set: each is read, written and restored as a text, so that a journal can
//! keep it.

use crate::Host;
use crate::netlink::{self, Route};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;

/// One setting of the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Target {
    /// By its dotted name.
    Sysctl(String),
    /// A file under `/proc` or `/sys` that holds one value, without the leading slash.
    File(String),
    /// The first windows of a route: its value is the kernel's message in hexadecimal.
    Route(String),
    /// The root queueing discipline of a device.
    Qdisc { device: String, index: u32 },
}

impl Target {
    /// What it is called.
    pub(super) fn label(&self) -> String {
        match self {
            Self::Sysctl(name) => name.clone(),
            Self::File(path) => format!("/{path}"),
            Self::Route(route) => format!("route {route}"),
            Self::Qdisc { device, .. } => format!("root qdisc of {device}"),
        }
    }

    /// A value of it, for people.
    pub(super) fn describe(&self, value: &str) -> String {
        let Self::Route(_) = self else { return value.to_owned() };
        let Some(route) = decode(value) else { return "?".into() };
        let show = |window: Option<u32>| window.map_or("10".into(), |window| window.to_string());
        format!("initcwnd {} initrwnd {}", show(route.initcwnd()), show(route.initrwnd()))
    }

    /// The value now; none if it is not there.
    pub(super) fn value(&self, host: &Host) -> Option<String> {
        match self {
            Self::Sysctl(name) => host.sysctl(name),
            Self::File(path) => host.read(path),
            Self::Route(name) => {
                let routes = netlink::routes().ok()?;
                // Two routes can have one name (by metric): the journal's label holds a number
                // then.
                let found = named(&routes).find(|(label, _)| label == name);
                found.map(|(_, route)| encode(route))
            }
            Self::Qdisc { index, .. } => {
                let all = netlink::qdiscs().ok()?;
                let own = all.into_iter().find(|qdisc| qdisc.device == *index)?;
                Some(own.kind)
            }
        }
    }

    /// Whether nobody at all may write it.
    pub(super) fn is_fixed(&self, host: &Host) -> bool {
        let metadata = self.path(host).and_then(|path| fs::metadata(path).ok());
        metadata.is_some_and(|metadata| metadata.permissions().readonly())
    }

    fn path(&self, host: &Host) -> Option<PathBuf> {
        match self {
            Self::Sysctl(name) => Some(host.path(&format!("proc/sys/{}", name.replace('.', "/")))),
            Self::File(path) => Some(host.path(path)),
            Self::Route(_) | Self::Qdisc { .. } => None,
        }
    }

    /// Sets it.
    pub(super) fn set(&self, host: &Host, value: &str) -> io::Result<()> {
        match self {
            Self::Sysctl(_) | Self::File(_) => match self.path(host) {
                // Never create one: what is not there cannot be set.
                Some(path) => fs::OpenOptions::new()
                    .write(true)
                    .truncate(true)
                    .open(path)?
                    .write_all(value.as_bytes()),
                None => Ok(()),
            },
            Self::Route(_) => match decode(value) {
                Some(route) => route.replace(),
                None => Err(io::Error::from(io::ErrorKind::InvalidData)),
            },
            Self::Qdisc { index, .. } => netlink::set_qdisc(*index, value),
        }
    }

    /// Puts a value back that was there before. A queueing discipline that the kernel chose is
    /// removed, so that it chooses again.
    pub(super) fn restore(&self, host: &Host, before: &str) -> io::Result<()> {
        match self {
            Self::Qdisc { index, .. } => netlink::remove_qdisc(*index),
            _ => self.set(host, before),
        }
    }
}

/// Routes with names that tell them apart: a name that comes again gets a number.
pub(super) fn named(routes: &[Route]) -> impl Iterator<Item = (String, &Route)> {
    routes.iter().enumerate().map(|(index, route)| {
        let name = route.to_string();
        let before = routes[..index].iter().filter(|other| other.to_string() == name).count();
        if before == 0 { (name, route) } else { (format!("{name} #{}", before + 1), route) }
    })
}

pub(super) fn encode(route: &Route) -> String {
    let mut text = String::with_capacity(route.bytes().len() * 2);
    for byte in route.bytes() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn decode(text: &str) -> Option<Route> {
    let bytes = (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect::<Option<Vec<u8>>>()?;
    Route::from_message(bytes)
}
