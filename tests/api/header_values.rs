//! Whatever a client may send in the headers of a device can be stored: no login fails in the database after its token
//! is spent.

use std::cell::Cell;
use std::sync::Arc;

use oneclick_login::store::Store;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tokio::runtime::Runtime;

use crate::support::app::{TestApp, login};
use crate::support::postgres;

/// Headers that are stored, and the most bytes that each may have.
const STORED: [(&str, usize); 3] = [("X-operating-sys-version", 128), ("X-device-fingerprint", 256), ("X-agent", 1024)];

const CASES: u32 = 96;

/// A value of each stored header, and one of `X-device-ip`.
type Case = ([Vec<u8>; 3], Vec<u8>);

/// Every byte that HTTP allows in a header's value.
fn any_bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(b'\t'), 0x20_u8..=0x7e, 0x80_u8..=0xff];
    prop::collection::vec(byte, 0..=most)
}

/// Text of every script, private use, noncharacters and unassigned ones included, up to the limit and beyond it.
fn any_text(most: usize) -> impl Strategy<Value = Vec<u8>> {
    let character = any::<char>().prop_filter("HTTP allows no control characters", |c| !c.is_ascii_control());
    prop::collection::vec(character, 1..=most / 3).prop_map(|text| text.into_iter().collect::<String>().into_bytes())
}

/// As phones of before 2010 name themselves: 红米 in GBK.
const GBK: &[u8] = b"Dalvik (\xba\xec\xc3\xd7 Note 12)";

fn any_value(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![6 => any_text(most), 2 => any_bytes(most + 8), 1 => Just(GBK.to_vec())]
}

fn any_address() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<std::net::IpAddr>().prop_map(|address| address.to_string().into_bytes()),
        Just(b"::ffff:10.0.0.1".to_vec()),
        any_bytes(40),
    ]
}

fn any_case() -> impl Strategy<Value = Case> {
    let [os, fingerprint, agent] = STORED.map(|(_, most)| any_value(most));
    ([os, fingerprint, agent], any_address())
}

/// Whether no reading of the contract allows to refuse it.
fn must_be_taken(value: &[u8], most: usize) -> bool {
    value.len() <= most && std::str::from_utf8(value).is_ok_and(|text| !text.trim().is_empty())
}

fn whatever_is_sent_is_stored_or_refused_unspent(runtime: &Runtime, store: Arc<dyn Store>) {
    let app = runtime.block_on(TestApp::over(store, &[]));
    let count = Cell::new(0);
    let mut runner = TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(CASES) });
    let taken = Cell::new(0);
    let outcome = runner.run(&any_case(), |(values, address)| {
        count.set(count.get() + 1);
        let mut call = login(&format!("sandbox:13800000001:{}", count.get())).with("X-device-ip", &address);
        for ((name, _), value) in STORED.iter().zip(&values) {
            call = call.with(name, value);
        }
        let answer = runtime.block_on(app.send(call.build()));
        let unspent = answer.header("x-access-token-state") == Some("unspent");
        let must = STORED.iter().zip(&values).all(|((_, most), value)| must_be_taken(value, *most));
        taken.set(taken.get() + u32::from(answer.status == 200));
        prop_assert!(answer.status == 200 || (answer.status == 400 && unspent && !must), "{answer:?}");
        Ok(())
    });
    outcome.unwrap();
    let taken = taken.get();
    assert!(taken > CASES / 8, "only {taken} of {CASES} were taken, which shows little");
}

#[test]
fn on_postgres_whatever_is_sent_is_stored_or_refused_unspent() {
    let runtime = Runtime::new().unwrap();
    let database = runtime.block_on(postgres::database());
    whatever_is_sent_is_stored_or_refused_unspent(&runtime, Arc::new(database.store()));
}

#[test]
fn on_sqlite_whatever_is_sent_is_stored_or_refused_unspent() {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("test.db").display());
    let config = oneclick_login::store::sqlite::Config::new(url);
    let store = runtime.block_on(oneclick_login::store::sqlite::SqliteStore::open(&config)).unwrap();
    whatever_is_sent_is_stored_or_refused_unspent(&runtime, Arc::new(store));
}
