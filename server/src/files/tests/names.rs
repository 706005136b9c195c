//! What names lead to: symbolic links, and the links of a listing.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use super::super::Files;
use super::worker::{Tree, Worker};

/// F19: links are followed wherever they go, and what they lead to is served if it is below the
/// root; what is not is said once.
#[test]
fn f19_links_that_stay_inside_are_followed() {
    let tree = Tree::new("links");
    tree.old("site/a.js", "x".repeat(99)).old("site/dir/b.txt", "b").old("secret.txt", "secret");
    tree.aged("site/a.js.br", "BR", Duration::ZERO).old("site/.hidden", "hidden");
    let site = tree.0.join("site");
    fs::create_dir(tree.0.join("site2")).unwrap();
    fs::write(tree.0.join("site2/x"), "secret").unwrap();
    symlink(site.join("a.js"), site.join("absolute.js")).unwrap();
    symlink(site.join("a.js.br"), site.join("absolute.js.br")).unwrap();
    symlink(site.join("dir"), site.join("folder")).unwrap();
    symlink(site.join("folder"), site.join("chain")).unwrap();
    symlink("../site/dir/b.txt", site.join("out-and-in")).unwrap();
    symlink(site.join("dir/../dir/./b.txt"), site.join("dots")).unwrap();
    symlink(&site, site.join("self")).unwrap();
    symlink(tree.0.join("site2"), site.join("sibling")).unwrap();
    symlink(site.join("dir/../../secret.txt"), site.join("escape")).unwrap();
    symlink(site.join("round"), site.join("round")).unwrap();
    symlink(site.join("nothing"), site.join("broken")).unwrap();
    symlink("/proc/self/root", site.join("magic")).unwrap();
    let mut worker = Worker::new(Files::new(&site));
    for (target, text) in [
        ("/folder/b.txt", "b"),
        ("/chain/b.txt", "b"),
        ("/out-and-in", "b"),
        ("/dots", "b"),
        ("/self/self/chain/b.txt", "b"),
    ] {
        for _ in 0..2 {
            let answer = worker.get(target);
            assert_eq!((answer.status, answer.text().as_str()), (200, text), "{target}");
        }
    }
    let answer = worker.get_with("/absolute.js", &[("accept-encoding", "br")]);
    assert_eq!((answer.text().as_str(), answer.field("content-encoding")), ("BR", Some("br")));
    assert_eq!(worker.get("/chain").field("location"), Some("/chain/"));
    for target in ["/sibling/x", "/escape", "/round", "/broken", "/magic/etc/passwd"] {
        let answer = worker.get(target);
        assert_eq!(answer.status, 404, "{target}");
        assert!(!answer.text().contains("secret"), "{target}");
    }
}

/// F14: every link of a listing is answered with 200, whatever bytes a name has.
#[test]
fn f14_every_link_of_a_listing_leads_somewhere() {
    let tree = Tree::new("names");
    let dir = tree.0.join("d");
    fs::create_dir(&dir).unwrap();
    let mut names: Vec<Vec<u8>> = (1..=255_u8)
        .filter(|byte| *byte != b'/')
        .flat_map(|byte| [vec![b'n', byte], vec![byte, b'n'], vec![byte]])
        .filter(|name| *name != b"." && name[0] != b'.')
        .collect();
    names.extend(
        [&b"a\\..\\b"[..], b"%2e%2e", b"%", b"a%zz", b"?q#f", b"x.", b"a..b"].map(Into::into),
    );
    names
        .extend([&b" lead"[..], b"http:x", b"&amp;", "é".as_bytes(), b"n\xff\xfe"].map(Into::into));
    names.push(vec![b'l'; 255]);
    names.sort();
    names.dedup();
    for name in &names {
        fs::write(dir.join(OsString::from_vec(name.clone())), name).unwrap();
    }
    for name in ["s%ub", "back\\slash", "new\nline"] {
        fs::create_dir(dir.join(name)).unwrap();
    }
    fs::write(dir.join(".hidden"), "x").unwrap();
    symlink("l", dir.join("link")).unwrap();
    fs::write(dir.join("locked"), "x").unwrap();
    fs::set_permissions(dir.join("locked"), fs::Permissions::from_mode(0o000)).unwrap();
    let mut worker = Worker::new(Files::new(&tree.0).browse(true));
    let page = worker.get("/d/").text();
    let links: Vec<String> = page
        .split("<a href=\"")
        .skip(1)
        .map(|rest| {
            let link = rest.split('"').next().unwrap();
            link.replace("&amp;", "&").replace("&#39;", "'")
        })
        .collect();
    assert!(links.len() >= names.len() + 4, "{} of {}", links.len(), names.len());
    for link in links.iter().filter(|link| *link != "../") {
        assert!(link.is_ascii() && !link.contains(['?', '#', '\\']), "{link}");
        assert_eq!(worker.get(&format!("/d/{link}")).status, 200, "{link}");
    }
    assert!(!page.contains(".hidden") && !page.contains(">link<"));
    let files = worker.get_with("/d/", &[("accept", "application/json")]);
    assert_eq!(files.field("content-type"), Some("application/json"));
    assert_eq!(files.field("vary"), Some("accept"));
    assert_eq!(files.text().matches("\"href\":").count(), links.len() - 1);
}
