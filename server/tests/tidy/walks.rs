//! The walks of ARCHITECTURE.md: every step names a function that is there, and no walk goes
//! through a file more than once on the way in and once on the way out.

use super::{code_only, report, root};

/// More steps than this are no overview.
const STEPS_MAX: usize = 12;

struct Step {
    file: String,
    function: String,
    is_out: bool,
}

/// The walks, each with the line that begins it. A step is a line "- `file: function`".
fn walks(text: &str) -> Vec<(String, Vec<Step>)> {
    let mut walks: Vec<(String, Vec<Step>)> = Vec::new();
    let section = text.split("\n## ").find(|section| section.starts_with("Three walks"));
    let mut is_out = false;
    for line in section.unwrap_or_default().lines() {
        if let Some(title) = line.strip_prefix("### ") {
            walks.push((title.to_owned(), Vec::new()));
            is_out = false;
        } else if line == "Out:" {
            is_out = true;
        } else if let Some(step) = line.strip_prefix("- `")
            && let Some((step, _)) = step.split_once('`')
            && let Some((file, function)) = step.split_once(": ")
            && let Some((_, steps)) = walks.last_mut()
        {
            let (file, function) = (file.to_owned(), function.to_owned());
            steps.push(Step { file, function, is_out });
        }
    }
    walks
}

#[test]
fn the_walks_lead_through_functions_that_are_there() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let walks = walks(&text);
    assert_eq!(walks.len(), 3, "one for each protocol");
    let mut wrong = Vec::new();
    for (title, steps) in &walks {
        if steps.is_empty() || steps.len() > STEPS_MAX {
            wrong.push(format!("{title}: {} steps", steps.len()));
        }
        for (at, Step { file, function, is_out }) in steps.iter().enumerate() {
            if steps[..at].iter().any(|other| other.file == *file && other.is_out == *is_out) {
                wrong.push(format!("{title}: {file} is entered twice"));
            }
            match std::fs::read_to_string(root().join(file)) {
                Err(_) => wrong.push(format!("{title}: there is no {file}")),
                Ok(source) => {
                    let code = code_only(&source);
                    let is_there = [" (", "(", "<"]
                        .iter()
                        .any(|behind| code.contains(&format!("fn {function}{behind}")));
                    if !is_there {
                        wrong.push(format!("{title}: {file} has no function {function}"));
                    }
                }
            }
        }
    }
    report(wrong);
}
