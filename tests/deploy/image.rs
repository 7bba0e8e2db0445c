//! The Dockerfile beside the program and the files that it copies.

use std::collections::{BTreeMap, BTreeSet};

use oneclick_login::settings::Settings;

use super::read;

/// The instructions, each in one line, comments left out.
fn instructions() -> Vec<String> {
    let text: Vec<_> = read("Dockerfile").lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
    let joined = text.join("\n").replace("\\\n", " ");
    joined.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).filter(|l| !l.is_empty()).collect()
}

fn after(instruction: &str) -> Vec<String> {
    let prefix = format!("{instruction} ");
    instructions().iter().filter_map(|line| line.strip_prefix(&prefix).map(str::to_owned)).collect()
}

/// The pairs `NAME=value` of an instruction that is there once. Of a value in quotes, only the first word.
fn pairs(instruction: &str) -> BTreeMap<String, String> {
    let [line] = after(instruction).try_into().unwrap();
    let pairs = line.split(' ').filter_map(|word| word.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned())).collect()
}

#[test]
fn the_base_is_pinned_and_the_image_is_nothing_but_what_was_put_together() {
    let [base, _features] = after("ARG").try_into().unwrap();
    let (_, digest) = base.split_once("@sha256:").expect("a digest");
    assert!(digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{base}");
    assert_eq!(after("FROM"), ["${RUST_IMAGE} AS build", "scratch"]);
    assert_eq!(after("USER"), ["65532:65532"], "a number, so that Kubernetes can see that it is not root");
    let tools: Vec<_> = after("RUN").into_iter().filter(|run| run.starts_with("cargo install")).collect();
    assert_eq!(tools.len(), 1);
    for tool in tools[0].split(' ').filter(|word| word.contains('@')) {
        assert_eq!(tool.split_once('@').unwrap().1.split('.').count(), 3, "{tool} is no exact version");
    }
    assert!(tools[0].contains("--locked"));
}

#[test]
fn its_version_and_its_settings_are_the_programs() {
    assert_eq!(pairs("LABEL")["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"));
    let mut variables = pairs("ENV");
    assert_eq!(variables.insert("ONECLICK_ENVIRONMENT".to_owned(), "development".to_owned()).unwrap(), "production");
    let server = Settings::load(None, &variables).unwrap().server;
    let exposed = after("EXPOSE");
    assert_eq!(exposed, [format!("{} {}", server.listen.port(), server.management_listen.port())]);
    assert!(server.listen.ip().is_unspecified() && server.management_listen.ip().is_unspecified());
}

#[test]
fn what_it_copies_is_there_and_is_let_through() {
    let copied: BTreeSet<String> = after("COPY")
        .iter()
        .filter(|copy| !copy.starts_with("--from"))
        .flat_map(|copy| {
            let mut words: Vec<_> = copy.split(' ').map(str::to_owned).collect();
            words.pop();
            words
        })
        .collect();
    assert!(copied.len() > 5, "{copied:?}");
    let ignored = read(".dockerignore");
    let let_through: BTreeSet<_> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    for path in &copied {
        let covered = let_through.iter().any(|prefix| path == prefix || path.starts_with(&format!("{prefix}/")));
        assert!(covered, ".dockerignore keeps {path} out");
        assert!(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists(), "no {path}");
    }
    for prefix in let_through {
        let used = copied.iter().any(|path| path == prefix || path.starts_with(&format!("{prefix}/")));
        assert!(used, ".dockerignore lets {prefix} through for nothing");
    }
}
