//! The metrics in OTLP's JSON form, made from the text for Prometheus: so every metric has one name
//! and stands in one place, and both readers are told the same.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// A metric of OpenTelemetry's own conventions: its name for Prometheus, and its own.
const DURATION: (&str, &str) =
    ("http_server_request_duration_seconds", "http.server.request.duration");

/// A metric and its samples.
struct Family<'a> {
    name: &'a str,
    help: &'a str,
    kind: &'a str,
    samples: Vec<Sample<'a>>,
}

/// The value of a name with its suffix and its labels.
type Sample<'a> = (&'a str, Labels<'a>, &'a str);
type Labels<'a> = Vec<(&'a str, &'a str)>;

/// The metrics of a text in Prometheus' format, counted since `start`, read at `now`: nanoseconds
/// since 1970.
pub(super) fn metrics(text: &str, start: u64, now: u64) -> Vec<Value> {
    families(text).iter().map(|family| metric(family, start, now)).collect()
}

fn families(text: &str) -> Vec<Family<'_>> {
    let mut families: Vec<Family<'_>> = Vec::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|at| at.split_once(' ')) {
            families.push(Family { name, help, kind: "gauge", samples: Vec::new() });
            continue;
        }
        let Some(family) = families.last_mut() else { continue };
        if let Some(of) = line.strip_prefix("# TYPE ") {
            family.kind = of.rsplit(' ').next().unwrap_or_default();
        } else if let Some((series, value)) = line.rsplit_once(' ') {
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            family.samples.push((name, labels_of(labels.trim_end_matches('}')), value));
        }
    }
    families
}

/// `a="1",b="2"` as pairs.
fn labels_of(mut text: &str) -> Labels<'_> {
    let mut labels = Vec::new();
    while let Some((name, rest)) = text.split_once("=\"") {
        let Some((value, rest)) = rest.split_once('"') else { break };
        labels.push((name, value));
        text = rest.trim_start_matches(',');
    }
    labels
}

fn metric(family: &Family<'_>, start: u64, now: u64) -> Value {
    let Family { name, help, kind, samples } = family;
    if *kind == "histogram" {
        return histogram(family, start, now);
    }
    let point = |(_, labels, value): &Sample<'_>| {
        let mut point = json!({
            "attributes": attributes(labels),
            "timeUnixNano": now.to_string(),
        });
        match value.parse::<i64>() {
            // 64 bits do not fit into JSON's numbers.
            Ok(_) => point["asInt"] = json!(value),
            Err(_) => point["asDouble"] = json!(value.parse::<f64>().unwrap_or_default()),
        }
        if *kind == "counter" {
            point["startTimeUnixNano"] = json!(start.to_string());
        }
        point
    };
    let points: Vec<Value> = samples.iter().map(point).collect();
    let mut metric = json!({"name": name, "description": help});
    match *kind {
        "counter" => {
            metric["sum"] = json!({
                "dataPoints": points, "aggregationTemporality": CUMULATIVE, "isMonotonic": true,
            });
        }
        _ => metric["gauge"] = json!({"dataPoints": points}),
    }
    metric
}

/// `AGGREGATION_TEMPORALITY_CUMULATIVE`: counts since the start.
const CUMULATIVE: u32 = 2;

/// The points of a histogram, by the labels other than `le`.
fn histogram(family: &Family<'_>, start: u64, now: u64) -> Value {
    let mut points: BTreeMap<Labels<'_>, Value> = BTreeMap::new();
    for (name, labels, value) in &family.samples {
        let (bound, labels): (Vec<_>, Vec<_>) = labels.iter().partition(|(name, _)| *name == "le");
        let point = points.entry(labels).or_insert_with_key(|labels| {
            json!({
                "attributes": attributes(labels), "startTimeUnixNano": start.to_string(),
                "timeUnixNano": now.to_string(), "bucketCounts": [], "explicitBounds": [],
            })
        });
        match name.strip_prefix(family.name) {
            Some("_count") => point["count"] = json!(value),
            Some("_sum") => point["sum"] = json!(value.parse::<f64>().unwrap_or_default()),
            _ => {
                // Prometheus counts what is below a bound, OTLP what is in a bucket.
                let below: u64 = value.parse().unwrap_or_default();
                if let Some(counts) = point["bucketCounts"].as_array_mut() {
                    counts.push(json!(below));
                }
                let bound = bound.first().and_then(|(_, bound)| bound.parse::<f64>().ok());
                if let (Some(bound), Some(bounds)) = (
                    bound.filter(|bound| bound.is_finite()),
                    point["explicitBounds"].as_array_mut(),
                ) {
                    bounds.push(json!(bound));
                }
            }
        }
    }
    let points = points.into_values().map(|mut point| {
        let mut before = 0;
        for count in point["bucketCounts"].as_array_mut().into_iter().flatten() {
            let below = count.as_u64().unwrap_or_default();
            *count = json!((below - before).to_string());
            before = below;
        }
        point
    });
    let points: Vec<Value> = points.collect();
    let (of_prometheus, ours) = DURATION;
    let name = if family.name == of_prometheus { ours } else { family.name };
    json!({
        "name": name, "description": family.help, "unit": "s",
        "histogram": {"dataPoints": points, "aggregationTemporality": CUMULATIVE},
    })
}

fn attributes(labels: &[(&str, &str)]) -> Vec<Value> {
    let attribute = |(name, value): &(&str, &str)| {
        let key = match *name {
            "network_protocol_version" => "network.protocol.version",
            "http_response_status_code" => "http.response.status_code",
            name => name,
        };
        json!({"key": key, "value": {"stringValue": value}})
    };
    labels.iter().map(attribute).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_told() {
        let text = "# HELP a_total All.\n# TYPE a_total counter\na_total{k=\"x\",l=\"y,z\"} 7\n\
            # HELP b Now.\n# TYPE b gauge\nb 1.5\n\
            # HELP http_server_request_duration_seconds Took.\n\
            # TYPE http_server_request_duration_seconds histogram\n\
            http_server_request_duration_seconds_bucket{network_protocol_version=\"2\",le=\"0.5\"} 3\n\
            http_server_request_duration_seconds_bucket{network_protocol_version=\"2\",le=\"+Inf\"} 5\n\
            http_server_request_duration_seconds_sum{network_protocol_version=\"2\"} 4.25\n\
            http_server_request_duration_seconds_count{network_protocol_version=\"2\"} 5\n";
        let found = metrics(text, 1, 2);
        let attribute =
            |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
        assert_eq!(
            found[0]["sum"]["dataPoints"][0],
            json!({
                "attributes": [attribute("k", "x"), attribute("l", "y,z")],
                "timeUnixNano": "2", "startTimeUnixNano": "1", "asInt": "7",
            })
        );
        assert_eq!(found[1]["gauge"]["dataPoints"][0]["asDouble"], 1.5);
        let took = &found[2]["histogram"]["dataPoints"][0];
        assert_eq!(found[2]["name"], "http.server.request.duration");
        assert_eq!(took["bucketCounts"], json!(["3", "2"]));
        assert_eq!(took["explicitBounds"], json!([0.5]));
        assert_eq!((&took["count"], &took["sum"]), (&json!("5"), &json!(4.25)));
        assert_eq!(took["attributes"], json!([attribute("network.protocol.version", "2")]));
    }
}
