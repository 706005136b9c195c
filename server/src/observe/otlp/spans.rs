//! Spans in OTLP's JSON form, with the attributes that OpenTelemetry's conventions have for HTTP
//! servers. Queries are left out: they carry secrets too often.

use ringway_codec::authority;
use serde_json::{Value, json};

use super::traced::Span;
use crate::app::request::Protocol;

/// `SPAN_KIND_SERVER`.
const SERVER: u32 = 2;
/// `STATUS_CODE_ERROR`.
const ERROR: u32 = 2;

/// A span as JSON.
pub(super) fn span(span: &Span) -> Value {
    let context = &span.context;
    let (trace, id) =
        (u128::from_be_bytes(context.trace_id()), u64::from_be_bytes(context.span_id()));
    let mut json = json!({
        "traceId": format!("{trace:032x}"),
        "spanId": format!("{id:016x}"),
        "name": span.method.as_str(),
        "kind": SERVER,
        "startTimeUnixNano": span.start.to_string(),
        "endTimeUnixNano": span.end.to_string(),
        "attributes": attributes(span),
    });
    // The trace's flags, and whether the parent is known to be remote (`SpanFlags`).
    json["flags"] = json!(if span.parent.is_some() { 0x301 } else { 0x101 });
    if let Some(parent) = span.parent {
        json["parentSpanId"] = json!(format!("{:016x}", u64::from_be_bytes(parent)));
    }
    if !context.state().is_empty() {
        json["traceState"] = json!(context.state());
    }
    if span.status.is_some_and(|status| status.is_server_error()) {
        json["status"] = json!({"code": ERROR});
    }
    json
}

fn attributes(span: &Span) -> Vec<Value> {
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let number =
        |key: &str, value: u64| json!({"key": key, "value": {"intValue": value.to_string()}});
    let mut all = vec![
        text("http.request.method", span.method.as_str()),
        text("url.scheme", if span.secure { "https" } else { "http" }),
        text("url.path", &span.path),
        text("network.protocol.name", "http"),
        text("network.protocol.version", version(span.protocol)),
    ];
    if let Some(own) = &span.authority {
        let host = authority::host(own);
        all.push(text("server.address", host));
        let port = own.rsplit_once(':').filter(|(_, port)| !port.contains(']'));
        let port = port.and_then(|(_, port)| port.parse().ok());
        let usual = if span.secure { 443 } else { 80 };
        all.push(number("server.port", port.unwrap_or(usual)));
    }
    if let Some(client) = span.client {
        all.push(text("client.address", &client.ip().to_string()));
        all.push(number("client.port", client.port().into()));
    }
    if let Some(agent) = &span.agent {
        all.push(text("user_agent.original", agent));
    }
    match span.status {
        Some(status) => {
            all.push(number("http.response.status_code", status.as_u16().into()));
            if status.is_server_error() {
                all.push(text("error.type", status.as_str()));
            }
        }
        None => all.push(text("error.type", "cancelled")),
    }
    all
}

fn version(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http10 => "1.0",
        Protocol::Http11 => "1.1",
        Protocol::Http2 => "2",
        Protocol::Http3 => "3",
    }
}
