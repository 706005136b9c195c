//! Chromium returns over HTTP/3: what it remembers of a server from its first visit saves round
//! trips. Row D5 of the feature list.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;
mod pinned;

use harness::{TempDir, eventually, missing};

/// Three visits, with pauses in which the server ends the connection.
const PAGE: &[u8] = br#"<!doctype html><title>visits</title><script>
const pause = ms => new Promise(over => setTimeout(over, ms));
(async () => {
    for (const visit of ["/first", "/second", "/last"]) {
        await pause(1500);
        await fetch(visit, {cache: "no-store"});
    }
})();
</script>"#;

/// D5: one Chromium, four connections: the first by a full handshake, each other one with its
/// request in the early data, which is accepted.
#[test]
fn alone_d5_chromium_sends_early_data() {
    let files: [(&str, &[u8]); 4] =
        [("index.html", PAGE), ("first", b"1"), ("second", b"2"), ("last", b"3")];
    let site = TempDir::with(&files);
    let short = ["--workers", "1", "--set", "limits.idle_timeout=500ms"];
    let (server, way) = pinned::over_http3(site.path(), &short);
    let Some(_browser) = way.open("/") else { return missing("chromium") };
    eventually("the last visit", || server.output().contains("\"GET /last HTTP/3.0\" 200"));
    let taken = server.metric("ringway_quic_early_requests_total{result=\"accepted\"}");
    let refused = server.metric("ringway_quic_early_requests_total{result=\"refused\"}");
    let handshakes = |kind: &str| {
        server.metric(&format!("ringway_tls_handshakes_total{{version=\"1.3\",{kind}}}"))
    };
    let full = handshakes("resumed=\"false\",early=\"false\"");
    let early = handshakes("resumed=\"true\",early=\"true\"");
    println!("{taken} requests in early data, {refused} refused; {full} full handshakes, {early}");
    assert!(taken >= 1 && refused == 0, "{taken} accepted, {refused} refused");
    assert!(full >= 1 && early >= 1, "{full} full handshakes, {early} with early data");
}
