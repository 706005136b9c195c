//! nginx's words: between spaces, in quotes, ended by `;`, `{` and `}`.

use super::super::directive::{Directive, Grammar, Mistake, NESTING_MAX, Place};
use std::path::Path;
use std::rc::Rc;

/// How nginx's files are read.
pub(crate) const GRAMMAR: Grammar = Grammar { parse, include: "include", has_snippets: false };

enum Token {
    Word(String),
    End,
    Open,
    Close,
}

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

    /// The next token; `Err` with what is wrong.
    fn token(&mut self) -> Result<Option<Token>, String> {
        loop {
            match self.text.peek() {
                None => return Ok(None),
                Some('#') => {
                    while self.text.peek().is_some_and(|c| *c != '\n') {
                        self.next_char();
                    }
                }
                Some(c) if c.is_whitespace() => {
                    self.next_char();
                }
                Some(_) => break,
            }
        }
        match self.next_char() {
            Some(';') => Ok(Some(Token::End)),
            Some('{') => Ok(Some(Token::Open)),
            Some('}') => Ok(Some(Token::Close)),
            Some(quote @ ('"' | '\'')) => self.quoted(quote).map(Some),
            Some(first) => Ok(Some(Token::Word(self.word(first)))),
            None => Ok(None),
        }
    }

    fn quoted(&mut self, quote: char) -> Result<Token, String> {
        let mut word = String::new();
        loop {
            match self.next_char() {
                None => return Err("a quote is not closed".to_owned()),
                Some(c) if c == quote => return Ok(Token::Word(word)),
                Some('\\') => match self.next_char() {
                    Some(c) if c == quote || c == '\\' => word.push(c),
                    Some(c) => word.extend(['\\', c]),
                    None => {}
                },
                Some(c) => word.push(c),
            }
        }
    }

    fn word(&mut self, first: char) -> String {
        let mut word = String::from(first);
        let mut last = first;
        if first == '\\' {
            word.extend(self.next_char());
        }
        while let Some(c) = self.text.peek().copied() {
            // `${name}` is a part of its word.
            if c.is_whitespace() || c == ';' || (c == '{' && last != '$') {
                break;
            }
            self.next_char();
            word.push(c);
            last = c;
            if c == '\\' {
                word.extend(self.next_char());
            }
        }
        word
    }
}

fn parse(text: &str, file: &Rc<Path>) -> Result<Vec<Directive>, Mistake> {
    let mut lexer = Lexer { text: text.chars().peekable(), line: 1 };
    block(&mut lexer, file, 0)
}

fn block(lexer: &mut Lexer<'_>, file: &Rc<Path>, depth: usize) -> Result<Vec<Directive>, Mistake> {
    let mut found = Vec::new();
    let mut words: Vec<String> = Vec::new();
    let mut place = Place { file: Rc::clone(file), line: 1 };
    let wrong = |line: usize, message: &str| Mistake {
        place: Place { file: Rc::clone(file), line },
        message: message.to_owned(),
    };
    if depth > NESTING_MAX {
        return Err(wrong(lexer.line, "blocks are nested too deeply"));
    }
    loop {
        let token = lexer.token().map_err(|message| wrong(lexer.line, &message))?;
        let inner = match token {
            Some(Token::Word(word)) => {
                if words.is_empty() {
                    place.line = lexer.line;
                }
                words.push(word);
                continue;
            }
            Some(Token::End) if words.is_empty() => {
                return Err(wrong(lexer.line, "a `;` without a directive"));
            }
            Some(Token::End) => None,
            Some(Token::Open) if words.is_empty() => {
                return Err(wrong(lexer.line, "a `{` without a directive"));
            }
            Some(Token::Open) => Some(block(lexer, file, depth + 1)?),
            Some(Token::Close) | None if !words.is_empty() => {
                return Err(wrong(place.line, &format!("`{}` has no `;`", words[0])));
            }
            Some(Token::Close) if depth > 0 => return Ok(found),
            Some(Token::Close) => return Err(wrong(lexer.line, "a `}` too many")),
            None if depth > 0 => return Err(wrong(lexer.line, "a `}` is missing")),
            None => return Ok(found),
        };
        let words = std::mem::take(&mut words);
        found.push(Directive { words, block: inner, place: place.clone() });
    }
}
