//! Who may read the metrics. Nothing asks for a password, so a page of another site must not get at
//! them through a browser that runs on this machine: neither by a request of its own (`Origin`,
//! `Sec-Fetch-Site`) nor by a name of its own that leads here (DNS rebinding: `Host`).

use std::net::IpAddr;

use http::StatusCode;
use ringway_codec::authority;

use crate::app::request::Request;
use crate::app::response::Response;

/// The hosts that requests may be for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guard {
    /// Besides addresses and `localhost`: canonical names, or `*.` and a name for all names with
    /// one label before it.
    hosts: Vec<String>,
}

impl Guard {
    /// Also admits requests for these names.
    pub(crate) fn new(hosts: impl IntoIterator<Item = String>) -> Self {
        let canonical = |name: String| name.trim_end_matches('.').to_ascii_lowercase();
        Self { hosts: hosts.into_iter().map(canonical).collect() }
    }

    /// The answer to a request that is not admitted.
    pub(super) fn refusal(&self, request: &Request<'_>) -> Option<Response> {
        // Only HTTP/1.0 may lack it, which no browser speaks.
        let own = request.authority().unwrap_or_default();
        let host = authority::host(own);
        if !own.is_empty() && !self.admits(host) {
            let why = format!(
                "Metrics are served for addresses and localhost, so that no web page can read them \
                 under a name of its own.\nTo allow this one: metrics_hosts = [\"{host}\"]\n"
            );
            return Some(Response::text(why).status(StatusCode::MISDIRECTED_REQUEST));
        }
        let is_cross_site = match request.header("origin") {
            Some(origin) => !is_origin_of(origin, own),
            None => is_fetched_by_another(request),
        };
        is_cross_site.then(|| {
            let why = "Metrics are not for the pages of other sites.\n";
            Response::text(why).status(StatusCode::FORBIDDEN)
        })
    }

    fn admits(&self, host: &str) -> bool {
        host == "localhost"
            || host.ends_with(".localhost")
            || host.parse::<IpAddr>().is_ok()
            || self.hosts.iter().any(|name| match name.strip_prefix("*.") {
                Some(name) => host.split_once('.').is_some_and(|(_, above)| above == name),
                None => name == host,
            })
    }
}

/// Whether an Origin is that of the authority that it is sent to, be it through a TLS proxy.
fn is_origin_of(origin: &[u8], own: &str) -> bool {
    let Ok(origin) = str::from_utf8(origin) else { return false };
    let behind = |scheme| origin.strip_prefix(scheme);
    behind("http://").or_else(|| behind("https://")).is_some_and(|origin| origin == own)
}

/// Whether a browser says that a page of another origin asks (Fetch Metadata). It may link here:
/// what it opens that way it cannot read.
fn is_fetched_by_another(request: &Request<'_>) -> bool {
    match request.header("sec-fetch-site") {
        None | Some(b"same-origin" | b"none") => false,
        Some(_) => {
            request.header("sec-fetch-mode") != Some(b"navigate")
                || request.header("sec-fetch-dest") != Some(b"document")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(guard: &Guard, host: &str, fields: &[(&str, &str)]) -> u16 {
        let mut request = Request::builder().uri(format!("http://{host}/stats.json"));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.build().unwrap();
        guard.refusal(&request.view()).map_or(200, |refusal| refusal.status_code().as_u16())
    }

    #[test]
    fn hosts_are_addresses_localhost_and_configured_names() {
        let guard = Guard::new(["Metrics.Example.COM.", "*.in.example"].map(str::to_owned));
        for host in [
            "127.0.0.1:9090",
            "[::1]:9090",
            "localhost",
            "LOCALHOST:9090",
            "a.localhost:9090",
            "192.0.2.7",
            "metrics.example.com",
            "metrics.example.com:9090",
            "a.in.example",
        ] {
            assert_eq!(status(&guard, host, &[]), 200, "{host}");
        }
        for host in [
            "example.com",
            "in.example",
            "a.b.in.example",
            "localhost.example",
            "127.0.0.1.example",
        ] {
            assert_eq!(status(&guard, host, &[]), 421, "{host}");
        }
    }

    #[test]
    fn origins_are_those_of_the_host() {
        let guard = Guard::new(["m.example".to_owned()]);
        let with = |host, fields: &[(&str, &str)]| status(&guard, host, fields);
        assert_eq!(with("127.0.0.1:9090", &[("origin", "http://127.0.0.1:9090")]), 200);
        assert_eq!(with("m.example", &[("origin", "https://m.example")]), 200);
        for origin in ["null", "http://localhost:9090", "http://127.0.0.1:3000", "http://a.example"]
        {
            assert_eq!(with("127.0.0.1:9090", &[("origin", origin)]), 403, "{origin}");
        }
        for (site, mode, dest, wanted) in [
            ("same-origin", "cors", "empty", 200),
            ("none", "navigate", "document", 200),
            ("cross-site", "navigate", "document", 200),
            ("cross-site", "navigate", "iframe", 403),
            ("cross-site", "no-cors", "image", 403),
            ("same-site", "no-cors", "script", 403),
        ] {
            let fields =
                [("sec-fetch-site", site), ("sec-fetch-mode", mode), ("sec-fetch-dest", dest)];
            assert_eq!(with("localhost:9090", &fields), wanted, "{site} {mode} {dest}");
        }
    }
}
