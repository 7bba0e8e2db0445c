//! Every problem of a deployment, one at a time, with its remedy.

use super::*;
use crate::finding::Verdict;

fn good() -> InForce {
    InForce {
        role: "\"Log In\"".to_owned(),
        database: "login".to_owned(),
        version: "17.2".to_owned(),
        encoding: "UTF8".to_owned(),
        is_standby: false,
        is_read_only: false,
        fsync: "on".to_owned(),
        full_page_writes: "on".to_owned(),
        synchronous_commit: "on".to_owned(),
        isolation: "read committed".to_owned(),
        statement_timeout_ms: 500,
        lock_timeout_ms: 200,
        idle_timeout_ms: 0,
        max_connections: 100,
        reserved: 3,
        role_limit: -1,
        database_limit: -1,
        others: 17,
        out_of_reach: None,
    }
}

fn wanted() -> Wanted {
    let statement_timeout = Duration::from_millis(500);
    Wanted { statement_timeout, transaction_pooler: false, max_connections: 15, replicas: 5 }
}

/// The troubles of a deployment that was changed in this way, in words.
fn troubles(change: impl FnOnce(&mut InForce, &mut Wanted)) -> Vec<(Verdict, String)> {
    let (mut in_force, mut wanted) = (good(), wanted());
    change(&mut in_force, &mut wanted);
    let findings = in_force.findings(&wanted).into_iter();
    findings.filter(Finding::is_trouble).map(|finding| (finding.verdict, finding.to_string())).collect()
}

#[track_caller]
fn assert_one(troubles: &[(Verdict, String)], verdict: Verdict, words: &[&str]) {
    let [(found, text)] = troubles else { panic!("{troubles:#?}") };
    assert_eq!(*found, verdict, "{text}");
    words.iter().for_each(|word| assert!(text.contains(word), "{word:?} is not said: {text}"));
}

#[test]
fn a_good_deployment_has_no_trouble() {
    assert_eq!(troubles(|_, _| ()), []);
    assert_eq!(troubles(|found, _| found.synchronous_commit = "remote_apply".to_owned()), []);
    assert_eq!(troubles(|found, _| found.statement_timeout_ms = 100), []);
}

#[test]
fn a_database_that_takes_no_writes_is_named_by_its_reason() {
    let standby = troubles(|found, _| (found.is_standby, found.is_read_only) = (true, true));
    assert_one(&standby, Verdict::Fail, &["standby", "database.url the host of the primary"]);
    let read_only = troubles(|found, _| found.is_read_only = true);
    let remedy = "run: alter role \"Log In\" set default_transaction_read_only = off;";
    assert_one(&read_only, Verdict::Fail, &["takes no writes", remedy]);
}

#[test]
fn an_encoding_that_cannot_hold_every_text_is_a_failure() {
    for encoding in ["LATIN1", "SQL_ASCII", "EUC_CN"] {
        let other = troubles(|found, _| found.encoding = encoding.to_owned());
        assert_one(&other, Verdict::Fail, &[encoding, "run: create database NAME encoding 'UTF8' template template0;"]);
    }
}

#[test]
fn what_weakens_a_commit_is_said_with_what_it_can_cost() {
    let off = |text: &str| text.to_owned();
    let fsync = troubles(|found, _| found.fsync = off("off"));
    assert_one(&fsync, Verdict::Fail, &["can destroy the database", "alter system set fsync = on;"]);
    let pages = troubles(|found, _| found.full_page_writes = off("off"));
    assert_one(&pages, Verdict::Warn, &["torn pages", "alter system set full_page_writes = on;"]);
    let remedy = "run: alter role \"Log In\" set synchronous_commit = on;";
    let asynchronous = troubles(|found, _| found.synchronous_commit = off("off"));
    assert_one(&asynchronous, Verdict::Fail, &["a crash can lose sessions", remedy]);
    for weak in ["local", "remote_write"] {
        let weaker = troubles(|found, _| found.synchronous_commit = off(weak));
        assert_one(&weaker, Verdict::Warn, &[weak, "failover", remedy]);
    }
}

#[test]
fn time_limits_that_are_not_in_force_are_set_by_the_role() {
    for in_force in [0, 501] {
        let statement = troubles(|found, _| found.statement_timeout_ms = in_force);
        assert_one(&statement, Verdict::Warn, &["run: alter role \"Log In\" set statement_timeout = '500ms';"]);
    }
    for in_force in [0, 201] {
        let lock = troubles(|found, _| found.lock_timeout_ms = in_force);
        assert_one(&lock, Verdict::Warn, &["run: alter role \"Log In\" set lock_timeout = '200ms';"]);
    }
    let idle = troubles(|_, wanted| wanted.transaction_pooler = true);
    assert_one(&idle, Verdict::Warn, &["run: alter role \"Log In\" set idle_in_transaction_session_timeout = '5s';"]);
}

#[test]
fn another_isolation_is_set_back_by_the_role() {
    let serializable = troubles(|found, _| found.isolation = "serializable".to_owned());
    let remedy = "run: alter role \"Log In\" set default_transaction_isolation = 'read committed';";
    assert_one(&serializable, Verdict::Warn, &["serializable", remedy]);
}

#[test]
fn connections_that_do_not_fit_are_counted_against_the_lowest_limit() {
    let server = troubles(|_, wanted| wanted.replicas = 7);
    assert_one(&server, Verdict::Fail, &["7 x (15", "= 112", "more than 97", "100 less 3 reserved", "to 12 or less"]);
    let role = troubles(|found, _| (found.role_limit, found.database_limit) = (40, 50));
    assert_one(&role, Verdict::Fail, &["more than 40", "the role \"Log In\"", "to 7 or less"]);
    let database = troubles(|found, _| found.database_limit = 4);
    assert_one(&database, Verdict::Fail, &["more than 4", "the database login", "to 1 or less"]);
    assert_eq!(troubles(|found, _| found.others = 17), [], "just");
    let crowd = troubles(|found, _| found.others = 18);
    assert_one(&crowd, Verdict::Warn, &["beside the 18 that others hold", "of the server's 97", "to 14 or less"]);
}
