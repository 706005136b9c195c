//! Whether the files and directories that a configuration names are there. Apart from loading,
//! because this looks at the machine and loading does not.

use super::error::Error;
use super::load::Loaded;
use std::fs::File;
use std::path::Path;

/// An error for every path in the configuration that is not usable.
pub fn missing_paths(loaded: &Loaded) -> Vec<Error> {
    let config = &loaded.config;
    let mut errors = Vec::new();
    let mut expect = |key: &str, path: &Path, is_directory: bool| {
        let wrong = match File::open(path).and_then(|file| file.metadata()) {
            Ok(found) if found.is_dir() == is_directory => return,
            Ok(_) if is_directory => "is not a directory".to_owned(),
            Ok(_) => "is a directory".to_owned(),
            Err(error) => format!("cannot be opened: {error}"),
        };
        let message = format!("`{key}`: {} {wrong}", path.display());
        errors.push(Error { origin: loaded.origin(key).clone(), message, hint: None });
    };
    expect("files.root", &config.files.root, true);
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
    errors
}
