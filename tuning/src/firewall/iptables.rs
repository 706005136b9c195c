//! The rules as `iptables -S` prints them.

use super::{Chain, Fate, Firewall, Match, PORT, Rule, Verdict};

/// Chain names start with `place`. Unknown lines decide nothing.
pub(super) fn parse(text: &str, place: &str) -> Firewall {
    let name = |chain: &str| format!("{place} {chain}");
    let mut chains: Vec<Chain> = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["-P", chain, policy] => {
                let policy = if policy == "ACCEPT" { Fate::Accepted } else { Fate::Dropped };
                let policy = (chain == "INPUT").then_some(policy);
                chains.push(Chain { name: name(chain), policy, rules: Vec::new() });
            }
            ["-N", chain] => {
                chains.push(Chain { name: name(chain), policy: None, rules: Vec::new() });
            }
            ["-A", chain, ref rest @ ..] => {
                let full = name(chain);
                if let Some(chain) = chains.iter_mut().find(|chain| chain.name == full) {
                    chain.rules.extend(read(rest, &name));
                }
            }
            _ => {}
        }
    }
    Firewall { chains }
}

/// A rule, unless it decides nothing.
fn read(words: &[&str], name: &dyn Fn(&str) -> String) -> Option<Rule> {
    let mut matches = Match::Always;
    let mut words = words.iter().copied();
    let mut is_negated = false;
    while let Some(word) = words.next() {
        if word == "!" {
            is_negated = true;
            continue;
        }
        let value = words.next()?;
        let found = match word {
            "-p" => Match::of(["udp", "17", "all"].contains(&value)),
            "-i" if value == "lo" => Match::Never,
            "--dport" | "--dports" => Match::of(value.split(',').any(has_port)),
            "--ctstate" | "--state" => Match::of(value.split(',').any(|state| state == "NEW")),
            "-m" | "--comment" => continue,
            "-j" => return verdict(value, name).map(|verdict| Rule { matches, verdict }),
            "-g" => return Some(Rule { matches, verdict: Verdict::Goto(name(value)) }),
            _ => Match::Maybe,
        };
        let found = if std::mem::take(&mut is_negated) { found.negated() } else { found };
        matches = matches.min(found);
    }
    None
}

fn has_port(range: &str) -> bool {
    let (from, to) = range.split_once(':').unwrap_or((range, range));
    let bounds = (from.parse::<u16>(), to.parse::<u16>());
    matches!(bounds, (Ok(from), Ok(to)) if (from..=to).contains(&PORT))
}

fn verdict(target: &str, name: &dyn Fn(&str) -> String) -> Option<Verdict> {
    match target {
        "ACCEPT" => Some(Verdict::Ends(Fate::Accepted)),
        "DROP" | "REJECT" => Some(Verdict::Ends(Fate::Dropped)),
        "RETURN" => Some(Verdict::Returns),
        // Targets after which the packet continues.
        "LOG" | "NFLOG" | "MARK" | "CONNMARK" | "TRACE" => None,
        chain => Some(Verdict::Jump(name(chain))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::Passage;

    #[test]
    fn rules_that_let_in_and_that_do_not() {
        let place = || "ip filter INPUT".to_owned();
        let known = "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n";
        for (rules, passage) in [
            ("-P INPUT ACCEPT\n".into(), Passage::Free),
            (format!("-P INPUT DROP\n{known}"), Passage::Dropped(place())),
            ("-P INPUT DROP\n-A INPUT -p udp -m udp --dport 443 -j ACCEPT".into(), Passage::Free),
            (
                "-P INPUT ACCEPT\n-A INPUT -p udp -m multiport --dports 53,400:500 -j DROP".into(),
                Passage::Dropped(place()),
            ),
            ("-P INPUT ACCEPT\n-A INPUT -p tcp -m tcp --dport 443 -j DROP".into(), Passage::Free),
            (
                "-P INPUT DROP\n-A INPUT -s 192.0.2.0/24 -j ACCEPT".into(),
                Passage::Sometimes(place()),
            ),
            (
                "-P INPUT DROP\n-N in\n-A INPUT ! -i lo -j in\n-A in -p udp -j ACCEPT".into(),
                Passage::Free,
            ),
        ] {
            assert_eq!(parse(&rules, "ip filter").passage(), passage, "{rules}");
        }
    }

    #[test]
    fn the_remedy_is_in_the_words_of_what_made_the_rules() {
        let old = parse("-P INPUT DROP\n", "ip filter");
        assert_eq!(old.remedy("ip filter INPUT").len(), 2);
        let ufw = parse("-P INPUT DROP\n-N ufw-user-input\n", "ip filter");
        assert_eq!(ufw.remedy("ip filter INPUT"), ["sudo ufw allow 443/udp"]);
        let legacy = old.remedy("ip6tables-legacy INPUT");
        assert_eq!(legacy, ["sudo ip6tables-legacy -I INPUT -p udp --dport 443 -j ACCEPT"]);
        let nft = old.remedy("inet filter input");
        assert_eq!(nft, ["sudo nft insert rule inet filter input udp dport 443 accept"]);
    }
}
