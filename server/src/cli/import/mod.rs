//! `ringway import`: makes a configuration of another server's. What it does not know it names by
//! file and line, on standard error and as comments in what it prints.

mod caddy;
mod directive;
mod nginx;
mod site;

use super::options::Parsed;
use super::{Exit, complain, print};
use ringway::config;
use site::Import;

/// The servers whose files are read.
pub(crate) const SERVERS: &[&str] = &["nginx", "caddy"];

pub(crate) fn run(parsed: &Parsed) -> Exit {
    let (Some(server), Some(file)) = (parsed.operand(), parsed.second_operand()) else {
        complain("`ringway import` wants a server and its file: `ringway import nginx FILE`");
        return Exit::Usage;
    };
    let made = match server {
        "nginx" => {
            directive::read(file.as_ref(), &nginx::GRAMMAR).map(|read| nginx::convert(&read))
        }
        _ => directive::read(file.as_ref(), &caddy::GRAMMAR).map(|read| caddy::convert(&read)),
    };
    match made {
        Ok(mut import) => {
            import.finish();
            finish(server, file, &import)
        }
        Err(mistake) => {
            complain(&mistake.to_string());
            Exit::Failed
        }
    }
}

fn finish(server: &str, file: &str, import: &Import) -> Exit {
    for note in &import.notes {
        complain(note);
    }
    let text = import.toml(&format!("ringway import {server} {}", directive::one_line(file)));
    let mistakes = config::load_text("the result".as_ref(), &text).err();
    for mistake in mistakes.iter().flat_map(|mistakes| &mistakes.0) {
        complain(&mistake.to_string());
    }
    match print(&text) {
        Exit::Fine if mistakes.is_some() || !import.notes.is_empty() => Exit::LeftOut,
        exit => exit,
    }
}
