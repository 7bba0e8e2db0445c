//! The form of every source file: it says what it is, it is short, and it silences no lint without a reason.

use super::sources;

const MAX_LINES: usize = 400;

#[test]
fn every_file_says_what_it_is_and_is_short() {
    let mut found = Vec::new();
    for file in sources(&["src", "tests", "benches"]) {
        if !file.text.starts_with("//! ") {
            found.push(format!("{}:1: does not open with `//!`", file.path));
        }
        let lines = file.text.lines().count();
        if lines > MAX_LINES {
            found.push(format!("{}: {lines} lines, more than {MAX_LINES}", file.path));
        }
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn lints_are_expected_with_a_reason_and_never_allowed() {
    let mut found = Vec::new();
    for file in sources(&["src", "tests", "benches"]) {
        for (index, line) in file.code().lines().enumerate() {
            let dense: String = line.split_whitespace().collect();
            if dense.contains("[allow(") || dense.contains(",allow(") {
                found.push(format!("{}:{}: {}", file.path, index + 1, file.line(index + 1)));
            }
        }
    }
    assert!(found.is_empty(), "use #[expect(…, reason = …)] instead:\n{}\n", found.join("\n"));
}
