//! The rules as `nft -j list ruleset` prints them (libnftables-json(5)).

use super::{Chain, Fate, Firewall, Match, PORT, Rule, Verdict};
use serde_json::Value;

/// None if this is not nft's JSON.
pub(super) fn parse(text: &str) -> Option<Firewall> {
    let whole: Value = serde_json::from_str(text).ok()?;
    let mut chains: Vec<Chain> = Vec::new();
    for object in whole["nftables"].as_array()? {
        if let Some(chain) = object.get("chain") {
            let name = name(chain, &chain["name"])?;
            chains.push(Chain { name, policy: policy(chain), rules: Vec::new() });
        }
        if let Some(rule) = object.get("rule") {
            let name = name(rule, &rule["chain"])?;
            if let Some(chain) = chains.iter_mut().find(|chain| chain.name == name) {
                chain.rules.extend(rule["expr"].as_array().and_then(|parts| read(rule, parts)));
            }
        }
    }
    Some(Firewall { chains })
}

/// `inet filter input`.
fn name(of: &Value, chain: &Value) -> Option<String> {
    let [family, table] = [of["family"].as_str()?, of["table"].as_str()?];
    Some(format!("{family} {table} {}", chain.as_str()?))
}

/// A chain that incoming packets pass through has one.
fn policy(chain: &Value) -> Option<Fate> {
    let hooks = ["ingress", "prerouting", "input"];
    let is_filter = chain["type"] == "filter"
        && chain["hook"].as_str().is_some_and(|hook| hooks.contains(&hook));
    is_filter.then(|| if chain["policy"] == "drop" { Fate::Dropped } else { Fate::Accepted })
}

/// A rule, unless it decides nothing.
fn read(rule: &Value, parts: &[Value]) -> Option<Rule> {
    let mut matches = Match::Always;
    for part in parts {
        let (key, value) = part.as_object()?.iter().next()?;
        let to = || {
            Some(format!(
                "{} {} {}",
                rule["family"].as_str()?,
                rule["table"].as_str()?,
                value["target"].as_str()?
            ))
        };
        let verdict = match key.as_str() {
            "match" => {
                matches = matches.min(matched(value));
                continue;
            }
            "accept" => Verdict::Ends(Fate::Accepted),
            "drop" | "reject" => Verdict::Ends(Fate::Dropped),
            "return" => Verdict::Returns,
            "jump" => Verdict::Jump(to()?),
            "goto" => Verdict::Goto(to()?),
            "vmap" => return mapped(value, matches),
            "counter" | "log" | "comment" | "mangle" => continue,
            // A limit, a set that changes, a match of iptables' that nft does not know.
            _ => {
                matches = matches.min(Match::Maybe);
                continue;
            }
        };
        return Some(Rule { matches, verdict });
    }
    None
}

fn matched(value: &Value) -> Match {
    let holds = holds(&value["left"], &value["right"]);
    if value["op"] == "!=" { holds.negated() } else { holds }
}

/// Whether such a packet matches an expression.
fn holds(left: &Value, right: &Value) -> Match {
    let port = |number: &Value| number.as_u64() == Some(PORT.into()) || number == "https";
    let is_udp = |number: &Value| number == "udp" || number.as_u64() == Some(17);
    let payload = (left["payload"]["protocol"].as_str(), left["payload"]["field"].as_str());
    match payload {
        (Some("udp" | "th"), Some("dport")) => return any(right, port),
        (Some("tcp" | "icmp" | "icmpv6" | "sctp" | "dccp"), _) => return Match::Never,
        (Some("ip"), Some("protocol")) | (Some("ip6"), Some("nexthdr")) => {
            return any(right, is_udp);
        }
        _ => {}
    }
    match (left["meta"]["key"].as_str(), left["ct"]["key"].as_str()) {
        (Some("l4proto"), _) => any(right, is_udp),
        (Some("iif" | "iifname"), _) if right == "lo" => Match::Never,
        (_, Some("state")) => any(right, |state| state == "new"),
        _ => Match::Maybe,
    }
}

/// Whether a set, list, range or single value contains it.
fn any(right: &Value, is_it: impl Fn(&Value) -> bool + Copy) -> Match {
    let inside = right.get("set").unwrap_or(right);
    if let Some(list) = inside.as_array() {
        return list.iter().map(|one| any(one, is_it)).max().unwrap_or(Match::Never);
    }
    if let Some([from, to]) = inside["range"].as_array().map(Vec::as_slice) {
        let (from, to) = (from.as_u64(), to.as_u64());
        let port = Some(u64::from(PORT));
        return Match::of(from <= port && port <= to);
    }
    // `@name`: a named set.
    if inside.as_str().is_some_and(|name| name.starts_with('@')) {
        return Match::Maybe;
    }
    Match::of(is_it(inside))
}

/// A verdict map.
fn mapped(value: &Value, matches: Match) -> Option<Rule> {
    let pairs = value["data"]["set"].as_array()?;
    let key = &value["key"];
    for pair in pairs {
        let verdict = match pair[1].as_object()?.keys().next()?.as_str() {
            "accept" => Verdict::Ends(Fate::Accepted),
            "drop" => Verdict::Ends(Fate::Dropped),
            _ => continue,
        };
        let found = holds(key, &pair[0]);
        if found > Match::Never {
            return Some(Rule { matches: matches.min(found), verdict });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::Passage;
    use serde_json::json;

    fn wall(policy: &str, rules: &[Value]) -> Firewall {
        let base = json!({"chain": {"family": "inet", "table": "filter", "name": "input",
            "type": "filter", "hook": "input", "prio": 0, "policy": policy}});
        let rule = |expr: &Value| {
            json!({"rule":
            {"family": "inet", "table": "filter", "chain": "input", "expr": expr}})
        };
        let objects: Vec<Value> = std::iter::once(base).chain(rules.iter().map(rule)).collect();
        parse(&json!({"nftables": objects}).to_string()).unwrap()
    }

    fn of(key: &Value, right: &Value) -> Value {
        json!({"match": {"op": "==", "left": key, "right": right}})
    }

    #[test]
    fn rules_that_let_in_and_that_do_not() {
        let (accept, drop) = (json!({"accept": null}), json!({"drop": null}));
        let dport = json!({"payload": {"protocol": "udp", "field": "dport"}});
        let tcp = json!({"payload": {"protocol": "tcp", "field": "dport"}});
        let state = json!({"ct": {"key": "state"}});
        let from = json!({"payload": {"protocol": "ip", "field": "saddr"}});
        let known = of(&state, &json!(["established", "related"]));
        let new_is_dropped = json!({"set": [["established", accept], ["new", drop]]});
        let dropped = Passage::Dropped("inet filter input".into());
        let sometimes = Passage::Sometimes("inet filter input".into());
        for (policy, rules, passage) in [
            ("accept", vec![], Passage::Free),
            ("accept", vec![json!([of(&dport, &json!(443)), drop])], dropped.clone()),
            (
                "accept",
                vec![json!([of(&dport, &json!({"range": [400, 500]})), drop])],
                dropped.clone(),
            ),
            ("accept", vec![json!([of(&dport, &json!(53)), drop])], Passage::Free),
            ("accept", vec![json!([of(&from, &json!("192.0.2.1")), drop])], sometimes),
            ("drop", vec![json!([known.clone(), accept])], dropped.clone()),
            (
                "drop",
                vec![json!([known, accept]), json!([of(&tcp, &json!(443)), accept])],
                dropped.clone(),
            ),
            (
                "drop",
                vec![json!([of(&dport, &json!({"set": [53, 443]})), {"counter": {}}, accept])],
                Passage::Free,
            ),
            (
                "drop",
                vec![json!([of(&json!({"meta": {"key": "iifname"}}), &json!("lo")), accept])],
                dropped.clone(),
            ),
            ("drop", vec![json!([{"vmap": {"key": state, "data": new_is_dropped}}])], dropped),
        ] {
            assert_eq!(wall(policy, &rules).passage(), passage, "{policy} {rules:?}");
        }
    }
}
