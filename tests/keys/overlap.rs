//! Every token verifies: tried on any sequence of rotations and purges, by replicas whose clocks differ by a minute,
//! which read late, with verifiers that hold a set for as long as they may. Pure; true time is in seconds.

use std::collections::BTreeSet;
use std::time::Duration;

use oneclick_login::keys::{KeyState, Lifecycle, Timing};
use oneclick_login::store::SigningKeyRow;
use proptest::prelude::*;
use time::OffsetDateTime;

use super::at;
use super::replica::{TOKEN_LIFE, timing};

/// Seconds since the reading of a snapshot: the usual interval, and the oldest that a ready replica may have.
const SNAPSHOT_AGES: [i64; 3] = [0, 5, 150];

const MAX_AGE: i64 = 300;

/// A verifier's leeway beyond `exp`, and how far its clock may be behind.
const PATIENCE: i64 = 60 + 60;

#[derive(Debug, Clone)]
struct Action {
    /// Seconds since the action before.
    after: i64,
    replica: usize,
    /// Seconds that the commit takes; none: the replica removes what is gone.
    rotate: Option<i64>,
}

fn action() -> impl Strategy<Value = Action> {
    let after = prop_oneof![0..20_i64, 500..700_i64, 1_000..2_000_i64];
    (after, 0..3_usize, prop::option::weighted(0.6, 0..30_i64)).prop_map(|(after, replica, rotate)| Action {
        after,
        replica,
        rotate,
    })
}

/// What the store held, and from when on.
struct World {
    clocks: [i64; 3],
    history: Vec<(i64, Vec<SigningKeyRow>)>,
    timing: Timing,
}

impl World {
    fn play(clocks: [i64; 3], actions: &[Action], timing: Timing) -> Self {
        let mut world = Self { clocks, history: vec![(0, vec![key(1, at(clocks[0]), at(clocks[0]))])], timing };
        let mut now = 0;
        for action in actions {
            now += action.after;
            let theirs = at(now + clocks[action.replica]);
            let mut rows = world.rows(now).to_vec();
            let lifecycle = Lifecycle::new(&rows, &timing);
            match action.rotate {
                None => {
                    let seen = rows.clone();
                    let lifecycle = Lifecycle::new(&seen, &timing);
                    rows.retain(|row| lifecycle.state(row, theirs) != KeyState::Gone);
                }
                Some(commit) if lifecycle.pending(theirs).is_none() => {
                    let generation = lifecycle.newest().unwrap().generation + 1;
                    rows.push(key(generation, theirs, theirs + timing.lead()));
                    now += commit;
                }
                Some(_) => {}
            }
            world.history.push((now, rows));
        }
        world
    }

    fn rows(&self, now: i64) -> &[SigningKeyRow] {
        let (_, rows) = self.history.iter().rev().find(|(since, _)| *since <= now.max(0)).unwrap();
        rows
    }

    fn signer(&self, replica: usize, now: i64, age: i64) -> &str {
        let lifecycle = Lifecycle::new(self.rows(now - age), &self.timing);
        &lifecycle.active(at(now + self.clocks[replica])).unwrap().kid
    }

    fn publishes(&self, replica: usize, read_at: i64, kid: &str) -> bool {
        let lifecycle = Lifecycle::new(self.rows(read_at), &self.timing);
        lifecycle.published(at(read_at + self.clocks[replica])).any(|row| row.kid == kid)
    }

    /// The seconds around which something changes for somebody.
    fn turning_points(&self) -> BTreeSet<i64> {
        let changes = self
            .history
            .iter()
            .flat_map(|(since, rows)| rows.iter().map(|row| (row.signs_from - at(0)).whole_seconds()).chain([*since]));
        changes
            .flat_map(|change| [-31, -30, -1, 0, 1, 30, 31].map(|near| change + near))
            .filter(|at| *at >= 0)
            .collect()
    }

    /// How many verifications fail, and of how many.
    fn failures(&self) -> (usize, usize) {
        let (mut failed, mut tried) = (0, 0);
        for signed in self.turning_points() {
            let tokens: BTreeSet<(&str, i64)> = (0..3)
                .flat_map(|replica| SNAPSHOT_AGES.map(|age| (self.signer(replica, signed, age), self.clocks[replica])))
                .collect();
            for (kid, ahead) in tokens {
                let dead = signed + ahead + TOKEN_LIFE + PATIENCE;
                for verified in [signed, signed + MAX_AGE / 2, dead] {
                    for fetched in [verified - MAX_AGE, verified] {
                        for (replica, age) in (0..3).flat_map(|replica| SNAPSHOT_AGES.map(|age| (replica, age))) {
                            tried += 1;
                            failed += usize::from(!self.publishes(replica, fetched - age, kid));
                        }
                    }
                }
            }
        }
        (failed, tried)
    }
}

fn key(generation: u32, created_at: OffsetDateTime, signs_from: OffsetDateTime) -> SigningKeyRow {
    SigningKeyRow {
        kid: format!("key-{generation}"),
        generation,
        alg: "ES256".to_owned(),
        private_key_wrapped: Vec::new(),
        public_jwk: String::new(),
        created_at,
        signs_from,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_token_verifies_by_any_set_of_the_last_max_age(
        clocks in [-30..=30_i64, -30..=30_i64, -30..=30_i64],
        actions in prop::collection::vec(action(), 1..20),
    ) {
        let world = World::play(clocks, &actions, timing());
        let (failed, tried) = world.failures();
        prop_assert_eq!(failed, 0, "of {}", tried);
    }
}

/// Clocks at both ends of what is allowed, commits that take half a minute, a purge at every step.
fn at_the_limits() -> (Vec<[i64; 3]>, Vec<Action>) {
    let clocks = vec![[-30, 30, 0], [30, -30, 0], [30, 30, -30], [-30, -30, 30], [0, 0, 0]];
    let actions = (0..40_usize).flat_map(|n| {
        let rotate = Action { after: 300, replica: n % 3, rotate: Some(30) };
        [rotate, Action { after: 1, replica: (n + 1) % 3, rotate: None }]
    });
    (clocks, actions.collect())
}

#[test]
fn at_the_limits_of_what_is_allowed_every_token_verifies() {
    let (clocks, actions) = at_the_limits();
    for clocks in clocks {
        let world = World::play(clocks, &actions, timing());
        let (failed, tried) = world.failures();
        assert!(failed == 0 && tried > 10_000, "{failed} of {tried}");
    }
}

#[test]
fn with_shorter_times_tokens_would_fail_so_these_tests_can_see_it() {
    let (clocks, actions) = at_the_limits();
    let count = |timing: Timing| -> usize {
        clocks.iter().map(|clocks| World::play(*clocks, &actions, timing).failures().0).sum()
    };
    assert_eq!(count(timing()), 0);
    assert!(count(Timing { jwks_max_age: Duration::from_secs(150), ..timing() }) > 0, "a lead of one max-age");
    assert!(count(Timing { longest_token_life: Duration::ZERO, ..timing() }) > 0, "an afterlife without the tokens'");
}
