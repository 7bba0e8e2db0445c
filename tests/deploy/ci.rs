//! `.ci/run` and the advisories, with a cargo that only says what it was asked for.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// A folder of programs in which `cargo` ends with this code for these words, and well for all others.
fn programs(fails_at: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, does) in
        [("cargo", format!("case \"$*\" in *'{fails_at}'*) exit 1;; esac")), ("cargo-deny", String::new())]
    {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\necho \"asked: $*\"\n{does}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }
    folder
}

/// Whether the step passed, and what it said.
fn dependencies(fails_at: &str, release: &str) -> (bool, String) {
    let folder = programs(fails_at);
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/run");
    let output = Command::new("bash")
        .arg(script)
        .arg("dependencies")
        .env("PATH", path)
        .env("RELEASE", release)
        .output()
        .unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// ASVS 15.1.1, 15.2.1.
#[test]
fn a_dependency_with_an_advisory_fails_the_run_and_a_release_is_not_made_without_asking() {
    let said = "SKIPPED advisories: the advisory database cannot be fetched here";
    for release in ["", "1"] {
        let (passed, output) = dependencies("nothing", release);
        assert!(
            passed && output.contains("asked: deny --locked check advisories") && !output.contains(said),
            "{output}"
        );
        for fails_at in ["check advisories", "check licenses"] {
            let (passed, output) = dependencies(fails_at, release);
            assert!(!passed && output.contains("FAILED: dependencies"), "{output}");
        }
        let (passed, output) = dependencies("deny fetch db", release);
        assert!(output.contains(said), "{output}");
        assert_eq!(passed, release.is_empty(), "{output}");
    }
}
