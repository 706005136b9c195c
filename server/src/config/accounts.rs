//! Users and groups, by the lines of `/etc/passwd` and `/etc/group` (passwd(5), group(5)). They are
//! read here and not by the C library, whose name services a static binary does not have; whoever
//! keeps users elsewhere writes their numbers.

use super::lifecycle::{Account, LifecycleConfig};
use super::suggest::nearest;
use std::io;

/// As whom a process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The further groups, among them the group itself.
    pub groups: Vec<u32>,
}

/// Why there is no such identity: the key that says so, what is wrong, and what was meant.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoIdentity {
    pub(crate) key: &'static str,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl NoIdentity {
    fn new(key: &'static str, message: impl Into<String>, hint: Option<String>) -> Self {
        Self { key, message: message.into(), hint }
    }
}

/// The identity that a configuration asks for, if any, on this machine.
pub(crate) fn identity(wanted: &LifecycleConfig) -> Result<Option<Identity>, NoIdentity> {
    if wanted.user.is_none() && wanted.group.is_none() {
        return Ok(None);
    }
    let read = |path| match std::fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(NoIdentity::new("lifecycle.user", format!("{path}: {error}"), None)),
    };
    let accounts = Accounts { passwd: read("/etc/passwd")?, group: read("/etc/group")? };
    accounts.identity(wanted.user.as_ref(), wanted.group.as_ref()).map(Some)
}

/// The text of both files.
struct Accounts {
    passwd: String,
    group: String,
}

impl Accounts {
    fn identity(
        &self,
        user: Option<&Account>,
        group: Option<&Account>,
    ) -> Result<Identity, NoIdentity> {
        let Some(user) = user else {
            let message = "a group without `lifecycle.user`: root of another group is root";
            return Err(NoIdentity::new("lifecycle.group", message, None));
        };
        let (uid, own, name) = self.user(user)?;
        if uid == 0 {
            let message = "root gives up nothing: name another user, or leave the key out";
            return Err(NoIdentity::new("lifecycle.user", message, None));
        }
        let gid = match group {
            Some(group) => self.group(group)?,
            None => own.ok_or_else(|| {
                let message = format!("{uid} is no user of /etc/passwd, which would say its group");
                NoIdentity::new("lifecycle.user", message, Some("`lifecycle.group` too".into()))
            })?,
        };
        let mut groups = vec![gid];
        groups.extend(name.into_iter().flat_map(|name| self.groups_with(name)));
        groups.sort_unstable();
        groups.dedup();
        Ok(Identity { uid, gid, groups })
    }

    /// A user's number, its group and its name, as far as they are known.
    fn user(&self, wanted: &Account) -> Result<(u32, Option<u32>, Option<&str>), NoIdentity> {
        let number = wanted.0.parse::<u32>().ok();
        let users = || lines(&self.passwd).filter_map(|line| User::of(&line));
        let found = users().find(|user| match number {
            Some(number) => user.uid == number,
            None => user.name == wanted.0,
        });
        match (found, number) {
            (Some(user), _) => Ok((user.uid, Some(user.gid), Some(user.name))),
            (None, Some(number)) => Ok((number, None, None)),
            (None, None) => {
                let message = format!("{wanted} is no user of /etc/passwd");
                let near = nearest(&wanted.0, users().map(|user| user.name));
                let hint = near.map_or("the number of a user".into(), |near| format!("`{near}`"));
                Err(NoIdentity::new("lifecycle.user", message, Some(hint)))
            }
        }
    }

    fn group(&self, wanted: &Account) -> Result<u32, NoIdentity> {
        if let Ok(number) = wanted.0.parse() {
            return Ok(number);
        }
        let groups = || lines(&self.group).filter_map(|line| Group::of(&line));
        groups().find(|group| group.name == wanted.0).map(|group| group.gid).ok_or_else(|| {
            let message = format!("{wanted} is no group of /etc/group");
            let near = nearest(&wanted.0, groups().map(|group| group.name));
            let hint = near.map_or("the number of a group".into(), |near| format!("`{near}`"));
            NoIdentity::new("lifecycle.group", message, Some(hint))
        })
    }

    /// The groups that name a user among their members.
    fn groups_with(&self, name: &str) -> impl Iterator<Item = u32> {
        let groups = lines(&self.group).filter_map(|line| Group::of(&line));
        groups
            .filter(move |group| group.members.split(',').any(|member| member == name))
            .map(|group| group.gid)
    }
}

/// A line of `/etc/passwd`: name, password, number, group, and more.
struct User<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
}

impl<'a> User<'a> {
    fn of(fields: &[&'a str]) -> Option<Self> {
        let [name, _, uid, gid, ..] = fields else { return None };
        Some(Self { name, uid: uid.parse().ok()?, gid: gid.parse().ok()? })
    }
}

/// A line of `/etc/group`: name, password, number, members.
struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

impl<'a> Group<'a> {
    fn of(fields: &[&'a str]) -> Option<Self> {
        let [name, _, gid, members] = fields else { return None };
        Some(Self { name, gid: gid.parse().ok()?, members })
    }
}

/// The fields of each line. `+` and `-` began lines of NIS, which nobody follows here.
fn lines(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = text.lines().filter(|line| !line.starts_with(['#', '+', '-']));
    lines.map(|line| line.split(':').collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        Accounts {
            passwd: "# who\nroot:x:0:0:root:/root:/bin/sh\n+::::::\nbroken\n\
                     www-data:x:33:33:www:/var/www:/usr/sbin/nologin\nodd:x:no:1::/:\n\
                     site:x:1000:100::/srv/site:/bin/sh"
                .into(),
            group: "root:x:0:\nwww-data:x:33:\nusers:x:100:site,www-data\nkeys:x:200:site\n\
                    short:x:7\n"
                .into(),
        }
    }

    fn identity(user: &str, group: Option<&str>) -> Result<(u32, u32, Vec<u32>), String> {
        let account = |text: &str| Account(text.into());
        let found = accounts().identity(Some(&account(user)), group.map(account).as_ref());
        let told = |no: NoIdentity| {
            let hint = no.hint.map_or(String::new(), |hint| format!("; did you mean {hint}"));
            format!("{}: {}{hint}", no.key, no.message)
        };
        found.map(|found| (found.uid, found.gid, found.groups)).map_err(told)
    }

    #[test]
    fn names_and_numbers_and_their_groups() {
        assert_eq!(identity("www-data", None), Ok((33, 33, vec![33, 100])));
        assert_eq!(identity("33", None), Ok((33, 33, vec![33, 100])));
        assert_eq!(identity("site", None), Ok((1000, 100, vec![100, 200])));
        assert_eq!(identity("site", Some("www-data")), Ok((1000, 33, vec![33, 100, 200])));
        assert_eq!(identity("4242", Some("4343")), Ok((4242, 4343, vec![4343])));
    }

    #[test]
    fn what_there_is_not_is_named_with_what_was_meant() {
        for (user, group, told) in [
            (
                "www-date",
                None,
                "lifecycle.user: www-date is no user of /etc/passwd; did you mean `www-data`",
            ),
            (
                "nobody-at-all",
                None,
                "lifecycle.user: nobody-at-all is no user of /etc/passwd; did you mean the number of a user",
            ),
            (
                "odd",
                None,
                "lifecycle.user: odd is no user of /etc/passwd; did you mean the number of a user",
            ),
            (
                "site",
                Some("key"),
                "lifecycle.group: key is no group of /etc/group; did you mean `keys`",
            ),
            (
                "4242",
                None,
                "lifecycle.user: 4242 is no user of /etc/passwd, which would say its group; did you mean `lifecycle.group` too",
            ),
            (
                "root",
                None,
                "lifecycle.user: root gives up nothing: name another user, or leave the key out",
            ),
            (
                "0",
                Some("33"),
                "lifecycle.user: root gives up nothing: name another user, or leave the key out",
            ),
        ] {
            assert_eq!(identity(user, group), Err(told.to_owned()));
        }
        let alone = accounts().identity(None, Some(&Account("keys".into()))).unwrap_err();
        assert_eq!(alone.key, "lifecycle.group");
    }
}
