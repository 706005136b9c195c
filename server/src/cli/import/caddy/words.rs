//! Caddy's words: a directive a line, a `{` at its end begins a block, quotes may hold anything.

use super::super::directive::{Directive, Grammar, Mistake, NESTING_MAX, Place};
use std::path::Path;
use std::rc::Rc;

/// How Caddyfiles are read.
pub(crate) const GRAMMAR: Grammar = Grammar { parse, include: "import", has_snippets: true };

/// The words of a line, and its number.
type Line = (Vec<String>, usize);

struct Lexer<'a> {
    text: std::iter::Peekable<std::str::Chars<'a>>,
    line: usize,
}

impl Lexer<'_> {
    fn next_char(&mut self) -> Option<char> {
        let c = self.text.next();
        if c == Some('\n') {
            self.line += 1;
        }
        c
    }

    /// The words up to the end of the line; `None` at the end.
    fn words(&mut self) -> Result<Option<Line>, Mistaken> {
        let mut words: Vec<String> = Vec::new();
        let mut at = self.line;
        loop {
            let Some(c) = self.text.peek().copied() else {
                return Ok((!words.is_empty()).then_some((words, at)));
            };
            match c {
                // Addresses go on in the next line behind a comma.
                '\n' if words.is_empty()
                    || words.last().is_some_and(|word| word.ends_with(',')) =>
                {
                    self.next_char();
                    if words.is_empty() {
                        at = self.line;
                    }
                }
                '\n' => {
                    self.next_char();
                    return Ok(Some((words, at)));
                }
                '#' => {
                    while self.text.peek().is_some_and(|c| *c != '\n') {
                        self.next_char();
                    }
                }
                '"' | '`' => words.push(self.quoted()?),
                c if c.is_whitespace() => {
                    self.next_char();
                }
                _ => words.extend(self.word()),
            }
        }
    }

    fn quoted(&mut self) -> Result<String, Mistaken> {
        let (line, mut word) = (self.line, String::new());
        let quote = self.next_char();
        loop {
            match self.next_char() {
                None => return Err(Mistaken(line, "a quote is not closed")),
                c if c == quote => return Ok(word),
                Some('\\') if quote == Some('"') && self.text.peek() == Some(&'"') => {
                    word.extend(self.next_char());
                }
                Some(c) => word.push(c),
            }
        }
    }

    /// A word; none if it was a `\` before the end of the line.
    fn word(&mut self) -> Option<String> {
        let mut word = String::new();
        while let Some(c) = self.text.peek().copied().filter(|c| !c.is_whitespace()) {
            self.next_char();
            word.push(c);
        }
        if word == "\\" && self.text.peek() == Some(&'\n') {
            self.next_char();
            return None;
        }
        Some(word)
    }
}

/// The line of what is wrong.
struct Mistaken(usize, &'static str);

fn parse(text: &str, file: &Rc<Path>) -> Result<Vec<Directive>, Mistake> {
    let place = |line: usize| Place { file: Rc::clone(file), line };
    let wrong =
        |Mistaken(line, message): Mistaken| Mistake { place: place(line), message: message.into() };
    let mut lexer = Lexer { text: text.chars().peekable(), line: 1 };
    let (mut found, mut open): (Vec<Directive>, Vec<(Directive, Vec<Directive>)>) =
        Default::default();
    while let Some((mut words, line)) = lexer.words().map_err(wrong)? {
        if words == ["}"] {
            let (mut directive, outer) =
                open.pop().ok_or_else(|| wrong(Mistaken(line, "a `}` too many")))?;
            directive.block = Some(std::mem::replace(&mut found, outer));
            found.push(directive);
            continue;
        }
        let opens = words.last().is_some_and(|word| word == "{");
        if opens {
            words.pop();
        }
        let directive = Directive { words, block: None, place: place(line) };
        if !opens {
            found.push(directive);
        } else if open.len() == NESTING_MAX {
            return Err(wrong(Mistaken(line, "blocks are nested too deeply")));
        } else {
            open.push((directive, std::mem::take(&mut found)));
        }
    }
    match open.pop() {
        Some((directive, _)) => Err(wrong(Mistaken(directive.place.line, "its block has no `}`"))),
        None => Ok(found),
    }
}
