//! Whether the files, directories and users that a configuration names are there. Apart from
//! loading, because this looks at the machine and loading does not.

use super::accounts::{NoIdentity, identity};
use super::error::Error;
use super::load::Loaded;
use crate::ring::broker;
use std::fs::File;
use std::path::Path;

/// An error for every path in the configuration that is not usable.
pub fn missing_paths(loaded: &Loaded) -> Vec<Error> {
    let config = &loaded.config;
    let mut errors = Vec::new();
    let mut expect = |key: &str, path: &Path, is_directory: bool| {
        let Err(wrong) = look(path, is_directory) else { return };
        let message = format!("`{key}`: {} {wrong}", path.display());
        errors.push(Error { origin: loaded.origin(key).clone(), message, hint: None });
    };
    if config.site.is_empty() {
        expect("files.root", &config.files.root, true);
    }
    let tls = &config.tls;
    for (key, path) in [
        ("tls.cert", &tls.cert),
        ("tls.key", &tls.key),
        ("tls.ocsp", &tls.ocsp),
        ("tls.client_ca", &tls.client_ca),
    ] {
        if let Some(path) = path {
            expect(key, path, false);
        }
    }
    for each in &tls.certificates {
        for path in [&each.cert, &each.key].into_iter().chain(&each.ocsp) {
            expect("tls.certificates", path, false);
        }
    }
    if let Some(directory) = &config.qlog {
        expect("qlog", directory, true);
    }
    errors.extend(missing_of_sites(loaded));
    errors
}

/// An error for every path of a site that cannot be used.
fn missing_of_sites(loaded: &Loaded) -> Vec<Error> {
    let mut errors = Vec::new();
    for (at, site) in loaded.config.site.iter().enumerate() {
        let mut expect = |key: &str, path: &Path, is_directory: bool| {
            if let Err(wrong) = look(path, is_directory) {
                let origin = loaded.site_origin(at, key).clone();
                let message = format!("`{key}`: {} {wrong}", path.display());
                errors.push(Error { origin, message, hint: None });
            }
        };
        expect("root", &site.root, true);
        if let Some(certificate) = &site.certificate {
            for path in [&certificate.cert, &certificate.key].into_iter().chain(&certificate.ocsp) {
                expect("certificate", path, false);
            }
        }
        if let Some(asked) = &site.client_certificate {
            expect("client_certificate", &asked.ca, false);
        }
        if !site.root.is_dir() {
            continue;
        }
        if let Some(file) = &site.fallback {
            expect("fallback", &site.root.join(&file.0), false);
        }
        for page in &site.errors {
            expect("errors", &site.root.join(&page.file.0), false);
        }
    }
    errors
}

/// An error if the configuration names a user or a group that there is not, or that would keep all
/// privileges.
pub fn unknown_accounts(loaded: &Loaded) -> Vec<Error> {
    let wrong = identity(&loaded.config.lifecycle).err();
    let wrong = wrong.map(|NoIdentity { key, message, hint }| Error {
        origin: loaded.origin(key).clone(),
        message: format!("`{key}`: {message}"),
        hint,
    });
    wrong.into_iter().collect()
}

/// Why a path cannot be used, if so.
fn look(path: &Path, is_directory: bool) -> Result<(), String> {
    let opened = if is_directory { File::open(path) } else { broker::open(path) };
    match opened.and_then(|file| file.metadata()) {
        Ok(found) if found.is_dir() == is_directory => Ok(()),
        Ok(_) if is_directory => Err("is not a directory".to_owned()),
        Ok(_) => Err("is a directory".to_owned()),
        Err(error) => Err(format!("cannot be opened: {error}")),
    }
}
