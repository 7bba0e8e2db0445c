//! `key list | rotate | remove | rewrap` as an operator runs them: the real program over a SQLite file.

use std::process::{Command, Output};

use tempfile::TempDir;

const OLD: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const NEW: &str = "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=";

struct Operator {
    folder: TempDir,
    master_key: String,
}

impl Operator {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), master_key: OLD.to_owned() }
    }

    fn output(&self, arguments: &[&str]) -> Output {
        let url = format!("sqlite://{}", self.folder.path().join("keys.db").display());
        Command::new(env!("CARGO_BIN_EXE_oneclick-login"))
            .arg("key")
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("DATABASE_URL", url)
            .env("ONECLICK_SECRETS__MASTER_KEY", &self.master_key)
            .output()
            .unwrap()
    }

    /// What the command says when it succeeds.
    fn says(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What it says when it does not.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(!output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Each key's id, algorithm and state.
    fn list(&self) -> Vec<[String; 3]> {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let rows = self.says(&["list"]);
        rows.lines().skip(1).map(|line| words(line)[..3].to_vec().try_into().unwrap()).collect()
    }
}

fn states(list: &[[String; 3]]) -> Vec<[&str; 2]> {
    list.iter().map(|[_, alg, state]| [alg.as_str(), state.as_str()]).collect()
}

#[test]
fn keys_are_rotated_listed_and_kept_from_being_removed() {
    let operator = Operator::new();
    assert!(operator.list().is_empty());
    let said = operator.says(&["rotate"]);
    let list = operator.list();
    assert_eq!(states(&list), [["ES256", "active"], ["ES256", "next"]]);
    assert!(said.contains(&list[1][0]) && said.contains("is published now and signs from"), "{said}");
    let shown = operator.says(&["list"]);
    assert!(shown.starts_with("KID ") && shown.lines().last().unwrap().ends_with("  replaced"), "{shown}");
    assert!(operator.refused(&["rotate"]).contains("a rotation is under way"));
    for [kid, ..] in &list {
        assert!(operator.refused(&["remove", "--kid", kid]).contains("signs, now or soon"));
    }
    for unknown in ["other", "-other"] {
        let refused = operator.refused(&["remove", "--kid", unknown]);
        assert!(refused.contains(&format!("no signing key is named {unknown}")), "{refused}");
    }
    assert_eq!(operator.list(), list);
}

#[test]
fn a_compromised_key_is_replaced_in_one_command() {
    let operator = Operator::new();
    operator.says(&["rotate"]);
    let before = operator.list();
    let said = operator.says(&["rotate", "--compromised", "--alg", "EdDSA"]);
    let after = operator.list();
    assert_eq!(states(&after), [["EdDSA", "active"]]);
    for [kid, ..] in &before {
        assert!(said.contains(&format!("removed the key {kid}")), "{said}");
    }
    assert!(said.contains(&after[0][0]) && said.contains("set id_token.signing_alg to EdDSA"), "{said}");
}

#[test]
fn the_master_key_is_changed_in_the_documented_order() {
    let mut operator = Operator::new();
    operator.says(&["rotate"]);
    operator.master_key = format!("{NEW},{OLD}");
    assert_eq!(operator.says(&["rewrap"]), "rewrapped 4 data keys; 0 were under the first master key\n");
    assert_eq!(operator.says(&["rewrap"]), "rewrapped 0 data keys; 4 were under the first master key\n");
    operator.master_key = NEW.to_owned();
    operator.says(&["rotate", "--compromised"]);
    operator.master_key = OLD.to_owned();
    assert!(operator.refused(&["rotate"]).contains("no master key opens"));
}
