//! A Rust file reduced to the code that ships: comments, literals and what only tests compile become blanks, and every
//! line stays where it is. It is no parser; it knows how those things begin and end.

pub struct SourceFile {
    /// Relative to the project: `src/http/mod.rs`.
    pub path: String,
    pub text: String,
}

impl SourceFile {
    /// Without comments and literals.
    pub fn code(&self) -> String {
        without_comments_and_literals(&self.text)
    }

    /// Without what only tests compile, too. A file `tests.rs` is one that its parent declares under `#[cfg(test)]`.
    pub fn shipped_code(&self) -> String {
        if self.path.ends_with("/tests.rs") { String::new() } else { without_test_items(&self.code()) }
    }

    pub fn line(&self, number: usize) -> &str {
        self.text.lines().nth(number - 1).unwrap_or_default().trim()
    }
}

fn without_comments_and_literals(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let in_a_word = at > 0 && is_word(chars[at - 1]);
        match end_of_hidden(&chars[at..], in_a_word) {
            Some(length) => {
                code.extend(chars[at..at + length].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
                at += length;
            }
            None => {
                code.push(chars[at]);
                at += 1;
            }
        }
    }
    code
}

/// The length of the comment or literal that begins here, if one does.
fn end_of_hidden(rest: &[char], in_a_word: bool) -> Option<usize> {
    match rest {
        ['/', '/', ..] => Some(rest.iter().position(|c| *c == '\n').unwrap_or(rest.len())),
        ['/', '*', ..] => Some(block_comment(rest)),
        ['"', ..] => Some(quoted(rest, '"')),
        ['\'', '\\', ..] | ['\'', _, '\'', ..] => Some(quoted(rest, '\'')),
        ['r' | 'b' | 'c', ..] if !in_a_word => raw_string(rest),
        _ => None,
    }
}

fn block_comment(rest: &[char]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// `r"…"`, `br#"…"#` and the like.
fn raw_string(rest: &[char]) -> Option<usize> {
    let prefix = rest.iter().take_while(|c| matches!(c, 'r' | 'b' | 'c')).count();
    let hashes = rest[prefix..].iter().take_while(|c| **c == '#').count();
    let open = prefix + hashes;
    if !rest[..prefix].contains(&'r') || rest.get(open) != Some(&'"') {
        return None;
    }
    let closes = |at: &usize| rest[*at] == '"' && rest[at + 1..].iter().take_while(|c| **c == '#').count() >= hashes;
    let close = (open + 1..rest.len()).find(closes)?;
    Some(close + 1 + hashes)
}

/// Blanks each item under `#[cfg(test)]`, or under any other condition that asks for `test`.
fn without_test_items(code: &str) -> String {
    let mut chars: Vec<char> = code.chars().collect();
    let attribute: Vec<char> = "#[cfg(".chars().collect();
    let mut at = 0;
    while at + attribute.len() <= chars.len() {
        if !chars[at..].starts_with(&attribute) {
            at += 1;
            continue;
        }
        let condition_ends = at + 1 + balanced(&chars[at + 1..]);
        let condition: String = chars[at..condition_ends].iter().collect();
        let asks_for_test = condition.split(|c| !is_word(c)).any(|word| word == "test");
        let end = if asks_for_test && !condition.contains("not(test") {
            condition_ends + item(&chars[condition_ends..])
        } else {
            condition_ends
        };
        if end > condition_ends {
            chars[at..end].iter_mut().filter(|c| **c != '\n').for_each(|c| *c = ' ');
        }
        at = end;
    }
    chars.into_iter().collect()
}

/// The length of an item: to its `;`, or to the end of its first braces.
fn item(rest: &[char]) -> usize {
    let mut at = 0;
    while at < rest.len() {
        match rest[at] {
            ';' => return at + 1,
            '{' => return at + balanced(&rest[at..]),
            '(' | '[' => at += balanced(&rest[at..]),
            _ => at += 1,
        }
    }
    at
}

/// The length of the bracketed text that begins here.
fn balanced(rest: &[char]) -> usize {
    let mut depth = 0_usize;
    for (at, c) in rest.iter().enumerate() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    rest.len()
}

pub fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[test]
fn comments_literals_and_test_items_become_blanks_and_lines_stay() {
    let text = r##"//! crate::a
use crate::kept; /* crate::b /* crate::c */ */
const A: &str = "crate::d \" crate::e";
const B: &str = r#"crate::f " crate::g"#; const C: char = '"';
fn life<'a>(b: &'a str) -> char { '\'' }
#[cfg(test)]
use crate::h::{i, j};
#[cfg(all(test, unix))]
mod tests { fn x() { crate::k() } }
#[cfg(not(test))]
use crate::also_kept;
#[cfg(unix)]
mod crate_kept;
"##;
    let file = SourceFile { path: "src/x.rs".to_owned(), text: text.to_owned() };
    let code = file.shipped_code();
    let kept: Vec<_> = code.match_indices("crate::").map(|(at, _)| code[..at].matches('\n').count() + 1).collect();
    assert_eq!(kept, [2, 11], "{code}");
    assert_eq!(code.lines().count(), text.lines().count());
    assert!(code.contains("fn life<'a>(b: &'a str) -> char"));
    assert!(code.contains("mod crate_kept;"));
}
