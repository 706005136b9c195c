//! What this machine's packet filter does to a client's first datagram for UDP port 443. Reads the
//! rules of nft, which iptables, firewalld and ufw use today, and those of the old iptables, which
//! the kernel keeps separately; a packet must pass both. Rules are followed for a new packet from
//! elsewhere. A match that depends on more (an address, an interface, a rate) may hold or not.
//! Filters elsewhere, of a cloud or a router, cannot be seen.

mod iptables;
mod nft;

use std::fs;
use std::io;
use std::process::{Command, Stdio};

/// The port of HTTP/3, which browsers expect to be that of https.
pub(crate) const PORT: u16 = 443;

/// Maximum depth of jumps between chains.
const DEPTH: u8 = 16;

/// Tables of the old iptables that exist in the kernel, and the tools that list their rules.
const LEGACY: [(&str, [&str; 2]); 2] = [
    ("/proc/net/ip_tables_names", ["iptables-legacy", "iptables"]),
    ("/proc/net/ip6_tables_names", ["ip6tables-legacy", "ip6tables"]),
];

/// The filter's chains, with the rules that affect such a packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Firewall {
    chains: Vec<Chain>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Chain {
    /// With its table: `inet filter input`.
    name: String,
    /// What happens to a packet without a matching rule; `None` for chains that are only jumped to.
    policy: Option<Fate>,
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    matches: Match,
    verdict: Verdict,
}

/// Whether a rule matches such a packet.
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

/// What may happen to a packet in a chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Fates {
    accepted: bool,
    dropped: bool,
    /// It returns to the calling chain.
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

/// The packet's fate on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Passage {
    /// It is accepted.
    Free,
    /// This chain accepts it depending on its source or the time.
    Sometimes(String),
    /// This chain drops it from any source.
    Dropped(String),
}

impl Firewall {
    /// This machine's rules, read by its own tools as root. An error says what is missing.
    pub fn of_this_machine() -> Result<Self, String> {
        Self::seen(&said, &|path| fs::read_to_string(path))
    }

    /// The rules by the output of tools and the kernel's files.
    fn seen(said: &Tools<'_>, read: &Files<'_>) -> Result<Self, String> {
        let mut wall = match said("nft", &["-j", "list", "ruleset"]) {
            Ok(text) => nft::parse(&text).ok_or("nft's rules are unread")?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match said("iptables", &["-S"]) {
                    Ok(text) => iptables::parse(&text, "ip filter"),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        return Err("neither nft nor iptables is installed".into());
                    }
                    Err(error) => return Err(format!("iptables -S: {error}")),
                }
            }
            Err(error) => return Err(format!("nft list ruleset: {error}")),
        };
        match legacy(said, read) {
            Ok(chains) => wall.chains.extend(chains),
            // A drop is certain whatever the other rules say; acceptance is not.
            Err(error) if wall.passage() == Passage::Free => return Err(error),
            Err(_) => {}
        }
        Ok(wall)
    }

    /// What happens to a client's first datagram for [`PORT`].
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

    /// The commands that open [`PORT`], by the tool that made the rules; `place` is the blocking
    /// chain.
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
        if let Some(tool) = place.strip_suffix(" INPUT")
            && !tool.contains(' ')
        {
            return vec![format!("sudo {tool} -I INPUT -p udp --dport {PORT} -j ACCEPT")];
        }
        let by_iptables = ["ip filter INPUT", "ip6 filter INPUT"].contains(&place);
        if by_iptables {
            let rule = format!("-I INPUT -p udp --dport {PORT} -j ACCEPT");
            return vec![format!("sudo iptables {rule}"), format!("sudo ip6tables {rule}")];
        }
        vec![format!("sudo nft insert rule {place} udp dport {PORT} accept")]
    }
}

/// Runs a tool with arguments.
type Tools<'a> = dyn Fn(&str, &[&str]) -> io::Result<String> + 'a;
/// Reads a file.
type Files<'a> = dyn Fn(&str) -> io::Result<String> + 'a;

/// The chains of the old iptables, where the kernel has any.
fn legacy(said: &Tools<'_>, read: &Files<'_>) -> Result<Vec<Chain>, String> {
    let mut chains = Vec::new();
    for (tables, [tool, plain]) in LEGACY {
        match read(tables) {
            Ok(names) if names.trim().is_empty() => continue,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(format!("{tables}: {error}")),
        }
        let (tool, text) = match said(tool, &["-S"]) {
            // The plain name may be the tool that shows nft's rules instead.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let version = said(plain, &["-V"]).unwrap_or_else(|_| "nf_tables".into());
                if version.contains("nf_tables") {
                    return Err(format!("{tables} names tables that want {tool}"));
                }
                (plain, said(plain, &["-S"]))
            }
            said => (tool, said),
        };
        let text = text.map_err(|error| format!("{tool} -S: {error}"))?;
        chains.extend(iptables::parse(&text, tool).chains);
    }
    Ok(chains)
}

/// What a tool prints.
fn said(tool: &str, arguments: &[&str]) -> io::Result<String> {
    let run = |tool: &str| Command::new(tool).args(arguments).stdin(Stdio::null()).output();
    // `PATH` of other users often lacks sbin.
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

    /// The passage by these answers of tools and files: by the command line, or by the path.
    fn seen(told: &[(&str, &str)]) -> Result<Passage, String> {
        let find = |asked: String| match told.iter().find(|(name, _)| *name == asked) {
            Some((_, "denied")) => Err(io::Error::other("denied")),
            Some((_, text)) => Ok((*text).to_owned()),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        let said = |tool: &str, arguments: &[&str]| find(format!("{tool} {}", arguments.join(" ")));
        Firewall::seen(&said, &|path| find(path.into())).map(|wall| wall.passage())
    }

    #[test]
    fn rules_of_the_old_iptables_count_beside_those_of_nft() {
        let nft = ("nft -j list ruleset", r#"{"nftables": []}"#);
        let v4 = ("/proc/net/ip_tables_names", "filter\n");
        let v6 = ("/proc/net/ip6_tables_names", "filter\n");
        let drops = "-P INPUT ACCEPT\n-A INPUT -p udp -m udp --dport 443 -j DROP\n";
        let dropped = |tool: &str| Ok(Passage::Dropped(format!("{tool} INPUT")));
        assert_eq!(seen(&[nft]), Ok(Passage::Free));
        assert_eq!(seen(&[nft, ("/proc/net/ip_tables_names", "")]), Ok(Passage::Free));
        assert_eq!(seen(&[nft, v4, ("iptables-legacy -S", "-P INPUT ACCEPT")]), Ok(Passage::Free));
        assert_eq!(seen(&[nft, v4, ("iptables-legacy -S", drops)]), dropped("iptables-legacy"));
        assert_eq!(seen(&[nft, v6, ("ip6tables-legacy -S", drops)]), dropped("ip6tables-legacy"));
        let old = [nft, v4, ("iptables -V", "iptables v1.6.1"), ("iptables -S", drops)];
        assert_eq!(seen(&old), dropped("iptables"));
        // Rules that cannot be seen are not taken as accepting.
        let other = [nft, v4, ("iptables -V", "iptables v1.8.9 (nf_tables)"), ("iptables -S", "")];
        assert!(seen(&other).is_err() && seen(&[nft, v4]).is_err());
        assert!(seen(&[nft, v4, ("iptables-legacy -S", "denied")]).is_err());
        assert!(seen(&[nft, ("/proc/net/ip_tables_names", "denied")]).is_err());
        assert!(seen(&[("nft -j list ruleset", "denied")]).is_err() && seen(&[]).is_err());
        // Without nft. A certain drop is reported whatever else is unseen.
        let alone = [("iptables -S", "-P INPUT DROP\n")];
        assert_eq!(seen(&alone), dropped("ip filter"));
        assert_eq!(seen(&[alone[0], v6]), dropped("ip filter"));
    }
}
