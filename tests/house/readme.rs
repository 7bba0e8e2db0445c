//! The README beside the code: what it says of errors, settings, variables and commands is what there is.

use std::collections::BTreeSet;

use clap::{Command, CommandFactory};
use oneclick_login::cli::Cli;
use oneclick_login::error_code::{ErrorCode, Origin};
use oneclick_login::http::openapi::when;
use oneclick_login::locale::Locale;
use oneclick_login::settings::{Reference, reference};

use super::read;
use super::source::is_word;

/// Variables that are no keys: the one that names the settings file.
const OTHER_VARIABLES: [&str; 1] = ["ONECLICK_CONFIG"];

fn readme() -> String {
    read("README.md")
}

/// The cells of the rows of the first table under `heading`, its head left out.
fn table(heading: &str) -> Vec<Vec<String>> {
    let readme = readme();
    let (_, section) = readme.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    let rows = section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells = |row: &str| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
    rows.skip(2).map(cells).collect()
}

#[test]
fn the_errors_table_is_the_catalogue() {
    let written: Vec<_> = table("## Errors")
        .into_iter()
        .map(|row| {
            let [status, number, en, zh, when, origin] = row.try_into().expect("six cells");
            [status, number.trim_matches('`').to_owned(), en, zh, when, origin]
        })
        .collect();
    let catalogue = ErrorCode::ALL.map(|code| {
        let origin = match code.origin() {
            Origin::D => "D",
            Origin::V => "V",
            Origin::O => "O",
        };
        let (en, zh) = (code.text(Locale::En), code.text(Locale::Zh));
        [&*code.status().to_string(), code.number(), en, zh, when(code).get(Locale::En), origin].map(str::to_owned)
    });
    assert_eq!(written, catalogue);
}

#[test]
fn the_settings_table_is_made_from_the_defaults() {
    let row = |row: Reference| {
        let default = row.default.map_or_else(|| "unset".to_owned(), |value| format!("`{value}`"));
        format!("| `{}` | {default} | {} |", row.key, row.comment)
    };
    let expected: Vec<_> = reference().into_iter().map(row).collect();
    let written: Vec<_> = table("## Settings").into_iter().map(|cells| format!("| {} |", cells.join(" | "))).collect();
    assert!(written == expected, "the README's settings table should be:\n{}\n", expected.join("\n"));
}

#[test]
fn every_key_and_variable_that_the_readme_names_exists() {
    let readme = readme();
    let keys: BTreeSet<_> = reference().into_iter().map(|row| row.key).collect();
    let sections: BTreeSet<_> = keys.iter().filter_map(|key| key.split_once('.')).map(|(section, _)| section).collect();
    let is_key = |word: &&str| {
        let section = word.split_once('.').map(|(section, _)| section);
        let dotted = word.chars().all(|c| is_word(c) || c == '.') && !word.ends_with(".rs");
        dotted && section.is_some_and(|section| sections.contains(section))
    };
    for key in readme.split('`').filter(is_key) {
        let is_section = keys.iter().any(|known| known.starts_with(&format!("{key}.")));
        assert!(keys.contains(key) || is_section, "there is no setting {key}");
    }

    let mut variables: BTreeSet<_> = reference().iter().filter_map(Reference::variable).collect();
    variables.extend(OTHER_VARIABLES.map(str::to_owned));
    for (at, prefix) in readme.match_indices("ONECLICK_") {
        let variable = readme[at..].split(|c| !is_word(c)).next().unwrap_or_default();
        assert!(variable == prefix || variables.contains(variable), "there is no variable {variable}");
    }
}

#[test]
fn every_command_that_the_readme_names_exists() {
    let readme = readme();
    let mut named = BTreeSet::new();
    for (number, line) in readme.lines().enumerate() {
        let calls = ["oneclick-login ", "cargo run -- "].map(|program| line.match_indices(program));
        for (at, program) in calls.into_iter().flatten() {
            let words = line[at + program.len()..].split([' ', '`', '[', ']', '|']).take_while(|word| *word != "#");
            named.extend(check_command(words.collect(), number + 1));
        }
    }
    let mut existing = BTreeSet::new();
    collect_commands(&Cli::command(), "", &mut existing);
    assert_eq!(named, existing, "the README names every command, and no other");
}

/// Follows the words of a command line down clap's tree and returns the command's name. A line that goes on with
/// neither a command nor an option, such as the program's own greeting, is none.
fn check_command(words: Vec<&str>, line: usize) -> Option<String> {
    let is_command = |word: &&str| word.starts_with(|c: char| c.is_ascii_lowercase() || c == '-');
    words.first().filter(|word| is_command(word))?;
    let root = Cli::command();
    let (mut command, mut name) = (&root, Vec::new());
    let mut words = words.into_iter().peekable();
    while let Some(word) = words.next() {
        if let Some(option) = word.strip_prefix("--") {
            let known = [command, &root]
                .iter()
                .flat_map(|command| command.get_arguments())
                .find(|argument| argument.get_long() == Some(option));
            let known = known.unwrap_or_else(|| panic!("README.md:{line}: `{}` has no --{option}", name.join(" ")));
            if known.get_action().takes_values() {
                words.next();
            }
        } else if command.has_subcommands() && word.starts_with(|c: char| c.is_ascii_lowercase()) {
            let found = command.find_subcommand(word);
            command = found.unwrap_or_else(|| panic!("README.md:{line}: no command `{} {word}`", name.join(" ")));
            name.push(word);
        }
    }
    (!name.is_empty()).then(|| name.join(" "))
}

fn collect_commands(command: &Command, prefix: &str, names: &mut BTreeSet<String>) {
    for sub in command.get_subcommands() {
        let name = format!("{prefix}{}", sub.get_name());
        if sub.has_subcommands() {
            collect_commands(sub, &format!("{name} "), names);
        } else {
            names.insert(name);
        }
    }
}
