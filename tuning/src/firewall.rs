//! What this machine's packet filter does to a client's first datagram for UDP port 443: nft's
//! rules, which iptables, firewalld and ufw make too nowadays, or those of the old iptables where
//! there is no nft. Rules are followed for a new packet from elsewhere; a match that depends on
//! more than that (an address, an interface, a rate) may hold or not. Not for rules elsewhere: a
//! cloud's or a router's cannot be seen from a machine.

mod iptables;
mod nft;

use std::io;
use std::process::{Command, Stdio};

/// The port of HTTP/3, which browsers expect to be that of https.
pub(crate) const PORT: u16 = 443;

/// Chains that follow one another are not looked at further than this.
const DEPTH: u8 = 16;

/// The filter's chains, with the rules that say anything of such a packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Firewall {
    chains: Vec<Chain>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Chain {
    /// With its table: `inet filter input`.
    name: String,
    /// What befalls a packet that no rule decides upon; chains that are only jumped to have none.
    policy: Option<Fate>,
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    matches: Match,
    verdict: Verdict,
}

/// Whether a rule is for such a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Match {
    Never,
    Maybe,
    Always,
}

impl Match {
    fn of(holds: bool) -> Self {
        if holds { Self::Always } else { Self::Never }
    }

    fn negated(self) -> Self {
        match self {
            Self::Never => Self::Always,
            Self::Maybe => Self::Maybe,
            Self::Always => Self::Never,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Ends(Fate),
    Returns,
    Jump(String),
    Goto(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Accepted,
    Dropped,
}

/// What may befall a packet in a chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Fates {
    accepted: bool,
    dropped: bool,
    /// It goes on behind the rule that led here.
    returned: bool,
}

impl Fates {
    fn add(&mut self, fate: Fate) {
        match fate {
            Fate::Accepted => self.accepted = true,
            Fate::Dropped => self.dropped = true,
        }
    }
}

/// How the packet fares on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Passage {
    /// Nothing is in its way.
    Free,
    /// It depends on where it comes from, or when, in this chain.
    Sometimes(String),
    /// This chain drops it, whoever sent it.
    Dropped(String),
}

impl Firewall {
    /// This machine's, by its own tools, which want root's rights. An error says what is missing.
    pub fn of_this_machine() -> Result<Self, String> {
        match said("nft", &["-j", "list", "ruleset"]) {
            Ok(text) => return nft::parse(&text).ok_or_else(|| "nft's rules are unread".into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("nft list ruleset: {error}")),
        }
        match said("iptables", &["-S"]) {
            Ok(text) => Ok(iptables::parse(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err("neither nft nor iptables is installed".into())
            }
            Err(error) => Err(format!("iptables -S: {error}")),
        }
    }

    /// What befalls a client's first datagram for [`PORT`].
    pub(crate) fn passage(&self) -> Passage {
        let mut worst = Passage::Free;
        for chain in &self.chains {
            let Some(policy) = chain.policy else { continue };
            let mut fates = self.follow(chain, DEPTH);
            if std::mem::take(&mut fates.returned) {
                fates.add(policy);
            }
            match (fates.dropped, fates.accepted) {
                (true, false) => return Passage::Dropped(chain.name.clone()),
                (true, true) => worst = Passage::Sometimes(chain.name.clone()),
                _ => {}
            }
        }
        worst
    }

    fn follow(&self, chain: &Chain, depth: u8) -> Fates {
        let mut fates = Fates::default();
        for rule in chain.rules.iter().filter(|rule| rule.matches > Match::Never) {
            let mut goes_on = rule.matches == Match::Maybe;
            match &rule.verdict {
                Verdict::Ends(fate) => fates.add(*fate),
                Verdict::Returns => fates.returned = true,
                Verdict::Jump(name) | Verdict::Goto(name) => {
                    let found = self.chains.iter().find(|chain| chain.name == *name);
                    // Chains cannot form rings: the kernel refuses those.
                    let inner = match found {
                        Some(chain) if depth > 0 => self.follow(chain, depth - 1),
                        _ => Fates { returned: true, ..Fates::default() },
                    };
                    fates.accepted |= inner.accepted;
                    fates.dropped |= inner.dropped;
                    let is_jump = matches!(rule.verdict, Verdict::Jump(_));
                    goes_on |= inner.returned && is_jump;
                    fates.returned |= inner.returned && !is_jump;
                }
            }
            if !goes_on {
                return fates;
            }
        }
        fates.returned = true;
        fates
    }

    /// The commands that let [`PORT`] in, by what made the rules; `place` is the chain in the way.
    pub(crate) fn remedy(&self, place: &str) -> Vec<String> {
        if place.contains("firewalld") {
            return vec![
                format!("sudo firewall-cmd --permanent --add-port={PORT}/udp"),
                "sudo firewall-cmd --reload".into(),
            ];
        }
        if self.chains.iter().any(|chain| chain.name.contains("ufw-")) {
            return vec![format!("sudo ufw allow {PORT}/udp")];
        }
        let by_iptables = ["ip filter INPUT", "ip6 filter INPUT"].contains(&place);
        if by_iptables {
            let rule = format!("-I INPUT -p udp --dport {PORT} -j ACCEPT");
            return vec![format!("sudo iptables {rule}"), format!("sudo ip6tables {rule}")];
        }
        vec![format!("sudo nft insert rule {place} udp dport {PORT} accept")]
    }
}

/// What a tool prints.
fn said(tool: &str, arguments: &[&str]) -> io::Result<String> {
    let run = |tool: &str| Command::new(tool).args(arguments).stdin(Stdio::null()).output();
    // The paths of users other than root often lack it.
    let output = run(tool).or_else(|_| run(&format!("/usr/sbin/{tool}")))?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(error.lines().next().unwrap_or("it failed").to_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(name: &str, policy: Option<Fate>, rules: Vec<(Match, Verdict)>) -> Chain {
        let rules = rules.into_iter().map(|(matches, verdict)| Rule { matches, verdict });
        Chain { name: name.into(), policy, rules: rules.collect() }
    }

    #[test]
    fn chains_are_followed_and_left() {
        use Match::{Always, Maybe, Never};
        let ends = |fate| Verdict::Ends(fate);
        let inner = |rules| chain("inner", None, rules);
        for (rules, into, left) in [
            (vec![(Always, ends(Fate::Accepted))], "jump", Passage::Free),
            (vec![(Never, ends(Fate::Accepted))], "jump", Passage::Dropped("in".into())),
            (vec![(Maybe, ends(Fate::Accepted))], "jump", Passage::Sometimes("in".into())),
            (vec![(Always, Verdict::Returns)], "jump", Passage::Dropped("in".into())),
            (vec![], "goto", Passage::Dropped("in".into())),
        ] {
            let to = String::from("inner");
            let verdict = if into == "jump" { Verdict::Jump(to) } else { Verdict::Goto(to) };
            let outer = chain("in", Some(Fate::Dropped), vec![(Always, verdict)]);
            let wall = Firewall { chains: vec![outer, inner(rules.clone())] };
            assert_eq!(wall.passage(), left, "{into} {rules:?}");
        }
        assert_eq!(Firewall::default().passage(), Passage::Free);
    }
}
