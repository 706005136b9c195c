//! A firewall that drops QUIC: `ringway doctor` finds the rule and names the remedy, and clients
//! fall back to HTTP/2 meanwhile. Rows D11 and E2 of the feature list. Each test uses port 443 of
//! its own network namespace, whose packets nft really drops. If the machine allows no such
//! namespace, the tests say so and pass.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use harness::{TempDir, missing};
use serde_json::Value;

/// A server on port 443, which ends with the script; `wall` lets nothing of UDP 443 through.
const SETUP: &str = r#"
set -euo pipefail
ip link set lo up
"$RINGWAY" serve "$SITE" --http 127.0.0.1:80 --https 127.0.0.1:443 --workers 1 --log combined \
    --set limits.idle_timeout=500ms > "$SCRATCH/log" 2>&1 &
server=$!
trap 'kill $server; wait $server || true' EXIT
until grep -q '^listening h3 ' "$SCRATCH/log"; do
    kill -0 $server
    sleep 0.02
done
wall() {
    nft add table inet guard
    nft 'add chain inet guard input { type filter hook input priority 0; policy accept; }'
    nft add rule inet guard input udp dport 443 counter drop
}
dropped() {
    nft list chain inet guard input | sed -n 's/.*counter packets \([0-9]*\) .* drop$/\1/p'
}
doctor() {
    "$RINGWAY" doctor --json > "$SCRATCH/doctor" || true
    cat "$SCRATCH/doctor"
}
"#;

/// A page that asks for more when the connection that it came by has ended.
const VISITS: &[u8] = br#"<!doctype html><title>visits</title><script>
const pause = ms => new Promise(over => setTimeout(over, ms));
(async () => {
    for (const visit of ["/first", "/last"]) {
        await pause(1500);
        await fetch(visit, {cache: "no-store"});
    }
})();
</script>"#;

const FILES: [(&str, &[u8]); 4] =
    [("index.html", b"home"), ("visits.html", VISITS), ("first", b"1"), ("last", b"2")];

/// What the script prints after the set-up in a fresh namespace; none where that cannot be had.
fn inside(name: &str, script: &str) -> Option<String> {
    let possible = Command::new("unshare")
        .args(["--net", "sh", "-c", "ip link set lo up && nft add table inet probe"])
        .output();
    match possible {
        Ok(Output { status, .. }) if status.success() => {}
        Ok(Output { stderr, .. }) => {
            let error = String::from_utf8_lossy(&stderr);
            println!("skipped {name}: no namespace or no nft: {}", error.trim());
            return None;
        }
        Err(error) => {
            missing(&format!("unshare, {error}"));
            return None;
        }
    }
    let (site, scratch) = (TempDir::with(&FILES), TempDir::new());
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let output = Command::new("unshare")
        .args(["--net", "bash", "-c", &format!("{SETUP}{script}")])
        .env("RINGWAY", env!("CARGO_BIN_EXE_ringway"))
        .env("SITE", site.path())
        .env("SCRATCH", scratch.path())
        .env("CLIENTS", clients)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} failed\n{out}\n{err}");
    Some(out)
}

/// The doctor's items of this name, one from each of its reports.
fn items(out: &str, name: &str) -> Vec<Value> {
    let reports = serde_json::Deserializer::from_str(out).into_iter::<Value>();
    let find = |report: Value| {
        let items = report["items"].as_array().unwrap().clone();
        items.into_iter().find(|item| item["name"] == name).unwrap()
    };
    reports.map(|report| find(report.unwrap())).collect()
}

/// D11: the doctor sees that UDP 443 is dropped, says in which chain, and its command mends it.
#[test]
fn d11_the_doctor_finds_what_drops_udp_443() {
    let script = r#"
doctor
wall
doctor
remedy=$(grep -o 'sudo nft [^"]*' "$SCRATCH/doctor")
${remedy#sudo }
doctor
"#;
    let Some(out) = inside("d11", script) else { return };
    let items = items(&out, "UDP 443 through the firewall");
    let verdicts: Vec<_> = items.iter().map(|item| item["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["fine", "better", "fine"], "{items:?}");
    let found = items[1]["found"].as_str().unwrap();
    assert!(found.starts_with("dropped in the chain inet guard input; a cloud's"), "{found}");
    let mends = "sudo nft insert rule inet guard input udp dport 443 accept";
    assert_eq!(items[1]["how"][0], mends);
    assert!(items[1]["how"][1].as_str().unwrap().contains("security group"), "{items:?}");
    let port = self::items(&out, "UDP port 443").remove(0);
    assert!(port["found"].as_str().unwrap().contains("in use by ringway"), "{port}");
}

/// E2: a client that knows of HTTP/3 and gets no answer to its datagrams comes by HTTP/2; by HTTP/3
/// once the way is free.
#[test]
fn e2_niquests_falls_back_when_udp_is_dropped() {
    if std::env::var_os("RINGWAY_TEST_PYTHON").is_none() {
        return missing("RINGWAY_TEST_PYTHON, a Python with niquests");
    }
    let script = r#"
wall
"$RINGWAY_TEST_PYTHON" "$CLIENTS/h3_niquests.py" 443
dropped
nft insert rule inet guard input udp dport 443 accept
"$RINGWAY_TEST_PYTHON" "$CLIENTS/h3_niquests.py" 443
"#;
    let Some(out) = inside("e2", script) else { return };
    println!("{out}");
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (&lines[0][0], &lines[2][0]),
        (&serde_json::json!([20, 20]), &serde_json::json!([30, 30]))
    );
    assert!(lines[1].as_u64().unwrap() > 0, "it did try: {out}");
}

/// E2 by Chromium: it learns of HTTP/3 by Alt-Svc, tries it in vain on its next connection, and has
/// everything by HTTP/2.
#[test]
fn alone_e2_chromium_falls_back_when_udp_is_dropped() {
    if Command::new("chromium").arg("--version").output().is_err() {
        return missing("chromium");
    }
    let script = r#"
wall
pin=$(openssl s_client -connect localhost:443 < /dev/null 2> /dev/null |
    openssl x509 -pubkey -noout | openssl pkey -pubin -outform der |
    openssl dgst -sha256 -binary | base64)
chromium --headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking \
    --disable-component-update --disable-sync --remote-debugging-port=0 \
    --user-data-dir="$SCRATCH/profile" --ignore-certificate-errors-spki-list="$pin" \
    --host-resolver-rules='MAP localhost 127.0.0.1' https://localhost/visits.html \
    > "$SCRATCH/browser" 2>&1 &
browser=$!
trap 'kill $browser $server; wait $browser $server || true' EXIT
for _ in $(seq 600); do
    ! grep -q '"GET /last' "$SCRATCH/log" || break
    sleep 0.1
done
dropped
grep -o '"GET [^"]*" [0-9]*' "$SCRATCH/log"
"#;
    let Some(out) = inside("e2-chromium", script) else { return };
    println!("{out}");
    let (tried, log) = out.split_once('\n').unwrap();
    assert!(tried.parse::<u64>().unwrap() > 0, "it did try: {out}");
    for path in ["/visits.html", "/first", "/last"] {
        assert!(log.contains(&format!("\"GET {path} HTTP/2.0\" 200")), "{path}: {out}");
    }
    assert!(!log.contains("HTTP/3") && !log.contains("HTTP/1"), "{out}");
}
