//! The table of ASVS requirements beside the tests: each test that it names is there, and says itself what it shows.

use super::{read, sources};

/// The ids and the tests of each row.
fn rows(document: &str) -> Vec<(Vec<String>, Vec<String>)> {
    let (_, section) = document.split_once("\n## ASVS ").expect("a section");
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").collect();
        let ids = cells[0].split(',').map(|id| id.trim().to_owned()).collect();
        let tests = cells.get(3).unwrap_or(&"").split('`').skip(1).step_by(2).map(str::to_owned).collect();
        (ids, tests)
    })
    .collect()
}

/// The comments above every test of this name, joined.
fn comments(name: &str) -> Option<String> {
    let head = format!("fn {name}(");
    let mut found = None::<String>;
    for file in sources(&["src", "tests"]) {
        let lines: Vec<_> = file.text.lines().map(str::trim).collect();
        for at in (0..lines.len()).filter(|at| lines[*at].trim_start_matches("async ").starts_with(&head)) {
            let above = lines[..at].iter().rev().take_while(|line| line.starts_with("///") || line.starts_with("#["));
            let above: Vec<_> = above.copied().collect();
            if above.iter().any(|line| line.contains("test")) {
                found.get_or_insert_default().extend(above.iter().rev().map(|line| format!("{line} ")));
            }
        }
    }
    found
}

#[test]
fn every_test_of_the_asvs_table_is_there_and_bears_the_ids_that_it_shows() {
    let rows = rows(&read("docs/security.md"));
    assert!(rows.len() > 50, "{rows:?}");
    for (ids, tests) in rows {
        for test in tests {
            let comments = comments(&test).unwrap_or_else(|| panic!("docs/security.md: there is no test {test}"));
            let borne: Vec<_> = comments.split([' ', ',']).map(|word| word.trim_end_matches('.')).collect();
            let missing: Vec<_> = ids.iter().filter(|id| !borne.contains(&id.as_str())).collect();
            assert!(missing.is_empty(), "{test} does not say /// ASVS {missing:?}: {comments}");
        }
    }
}

#[test]
fn every_file_that_the_security_page_names_is_there() {
    for name in read("docs/security.md").split('`').skip(1).step_by(2) {
        let is_path = ["src/", "tests/", "deploy/", ".ci/"].iter().any(|folder| name.starts_with(folder));
        assert!(!is_path || super::project().join(name).exists(), "there is no {name}");
    }
}
