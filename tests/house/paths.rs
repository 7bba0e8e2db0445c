//! Which modules and crates a piece of code names, by `use` or in place: `crate::a::b`, `crate::{a, b::{c, d}}`,
//! `super::super::a`, `sqlx::query`.

use super::source::is_word;

/// A word or a sign of one or two characters, with its line.
#[derive(Debug, Clone, Copy)]
struct Token<'a> {
    text: &'a str,
    line: usize,
}

/// Something named, and on which line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub name: String,
    pub line: usize,
}

/// The modules at the root of the crate that `code` names. `depth` is that of its own module: 2 for `a::b`.
pub fn root_modules(code: &str, depth: usize) -> Vec<Named> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    for at in 0..tokens.len() {
        let begins = at == 0 || tokens[at - 1].text != "::";
        if !begins || tokens.get(at + 1).is_none_or(|next| next.text != "::") {
            continue;
        }
        match tokens[at].text {
            "crate" | "oneclick_login" => first_segments(&tokens[at + 2..], &mut found),
            "super" => {
                let ups = tokens[at..].chunks(2).take_while(|pair| is_super(pair)).count();
                if ups >= depth {
                    first_segments(&tokens[at + 2 * ups..], &mut found);
                }
            }
            _ => {}
        }
    }
    found
}

/// Where `code` names the crate, as the beginning of a path or by `use`.
pub fn uses_of_crate(code: &str, name: &str) -> Vec<usize> {
    let tokens = tokens(code);
    let text = |index: Option<usize>| index.and_then(|index| tokens.get(index)).map_or("", |token| token.text);
    let named = |index: &usize| {
        let (before, after) = (text(index.checked_sub(1)), text(Some(index + 1)));
        let goes_on = before == "." || before == "::" && text(index.checked_sub(2)).ends_with(is_word);
        tokens[*index].text == name && !goes_on && (after == "::" || before == "use")
    };
    (0..tokens.len()).filter(named).map(|index| tokens[index].line).collect()
}

fn is_super(pair: &[Token<'_>]) -> bool {
    matches!(pair, [word, sign] if word.text == "super" && sign.text == "::")
}

/// The first names of a path, or of every path in a group.
fn first_segments(rest: &[Token<'_>], found: &mut Vec<Named>) {
    let Some(first) = rest.first() else { return };
    if first.text != "{" {
        found.push(Named { name: first.text.to_owned(), line: first.line });
        return;
    }
    let mut depth = 0_usize;
    let mut expects_a_name = false;
    for token in rest {
        match token.text {
            "{" => depth += 1,
            "}" => depth -= 1,
            name if expects_a_name => found.push(Named { name: name.to_owned(), line: token.line }),
            _ => {}
        }
        if depth == 0 {
            return;
        }
        expects_a_name = depth == 1 && matches!(token.text, "{" | ",");
    }
}

fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = if is_word(first) {
                rest.find(|c| !is_word(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            tokens.push(Token { text: &rest[..length], line: index + 1 });
            rest = rest[length..].trim_start();
        }
    }
    tokens
}

#[test]
fn every_way_to_name_a_module_is_seen() {
    let names = |code: &str, depth| root_modules(code, depth).into_iter().map(|named| named.name).collect::<Vec<_>>();
    assert_eq!(names("use crate::a::B;", 1), ["a"]);
    assert_eq!(names("pub use crate::{\n    a::{B, c::D},\n    e, f as g,\n};", 1), ["a", "e", "f"]);
    assert_eq!(names("let x = crate::a::b(crate::c::D);", 3), ["a", "c"]);
    assert_eq!(names("use super::a::B;", 1), ["a"]);
    assert_eq!(names("use super::a::B; use super::super::{c, d};", 2), ["c", "d"]);
    assert_eq!(names("use oneclick_login::cli::Cli;", 0), ["cli"]);
    assert!(names("use self::a; fn crate_b() {} x.crate_c()", 1).is_empty());
    assert_eq!(root_modules("\n\nuse crate::a;", 1)[0].line, 3);

    assert_eq!(uses_of_crate("use sqlx::Row;\nlet q = ::sqlx::query();\nuse sqlx;", "sqlx"), [1, 2, 3]);
    assert!(uses_of_crate("use crate::sqlx::Row; let sqlx = 1; x.sqlx", "sqlx").is_empty());
}
