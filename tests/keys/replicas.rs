//! Two replicas under load: a hundred rotations, clocks that differ by a minute, verifiers that hold their sets for as
//! long as they may.

use std::collections::VecDeque;
use std::sync::Arc;

use oneclick_login::keys::KeysError;
use oneclick_login::store::Store;

use super::on_both_stores;
use super::replica::{Published, Replica, TOKEN_LIFE, Token, config, timing};

on_both_stores! {
    a_hundred_rotations_with_stale_sets_and_wrong_clocks_fail_no_verification,
    replicas_that_start_together_make_one_first_key,
    replicas_that_rotate_together_make_one_next_key,
}

const ROTATIONS: usize = 100;

/// Seconds between two looks at the world. Replicas follow once in each, so their snapshots are this old at most.
const STEP: i64 = 30;

const MAX_AGE: i64 = 300;

/// What verifiers allow for, beyond `exp`.
const LEEWAY: i64 = 60;

/// What a verifier may hold: everything fetched within the last max-age, oldest first.
#[derive(Default)]
struct Fetched(VecDeque<(i64, Published)>);

impl Fetched {
    fn fetch(&mut self, now: i64, replicas: &[Replica]) {
        self.0.extend(replicas.iter().map(|replica| (now, replica.publish())));
        self.0.retain(|(fetched, _)| now - fetched <= MAX_AGE);
    }

    fn sets(&self) -> impl Iterator<Item = &Published> {
        self.0.iter().map(|(_, set)| set)
    }
}

async fn a_hundred_rotations_with_stale_sets_and_wrong_clocks_fail_no_verification(store: &Arc<dyn Store>) {
    let replicas = [
        Replica::start(store, config(timing()), (0, -30)).await,
        Replica::start(store, config(timing()), (0, 30)).await,
    ];
    let mut fetched = Fetched::default();
    let mut living: Vec<Token> = Vec::new();
    let (mut now, mut rotations, mut lookups, mut signatures) = (0, 0, 0_usize, 0_usize);
    while rotations < ROTATIONS || !living.is_empty() {
        // Either replica begins rotations, as soon as the last one is over.
        let rotating = &replicas[rotations % 2];
        if rotations < ROTATIONS {
            match rotating.keys.rotate(oneclick_login::keys::SigningAlg::Es256, rotating.now(now)).await {
                Ok(_) => rotations += 1,
                Err(KeysError::Pending { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        // The other one is behind by a whole step.
        fetched.fetch(now, &replicas);
        if rotations < ROTATIONS {
            living.extend(replicas.iter().map(|replica| replica.sign(now)));
        }
        living.retain(|token| now <= token.expires + LEEWAY);
        for token in &living {
            assert!(fetched.sets().all(|set| set.has(token)), "{token:?} at {now}");
            lookups += fetched.0.len();
            // Signatures cost more to check than to look up: when fresh by the oldest set, when dying by the newest.
            let (first, last) = (fetched.sets().next().unwrap(), fetched.sets().last().unwrap());
            if token.expires > now + TOKEN_LIFE - STEP || token.expires + LEEWAY < now + STEP {
                assert!(first.verifies(token) && last.verifies(token), "{token:?} at {now}");
                signatures += 2;
            }
        }
        for replica in &replicas {
            replica.tend(now).await;
        }
        now += STEP;
    }
    assert!(lookups > 100_000 && signatures > 5_000, "{lookups} lookups, {signatures} signatures");
    let left = store.signing_keys().await.unwrap();
    assert!(left.len() <= 3 && left.last().unwrap().generation == 101, "{} keys are left", left.len());
}

async fn replicas_that_start_together_make_one_first_key(store: &Arc<dyn Store>) {
    let start = |ahead| Replica::start(store, config(timing()), (0, ahead));
    let replicas = tokio::join!(start(-30), start(0), start(30));
    let rows = store.signing_keys().await.unwrap();
    assert_eq!((rows.len(), rows[0].generation), (1, 1));
    for replica in [replicas.0, replicas.1, replicas.2] {
        assert_eq!(replica.signer(0), rows[0].kid);
        assert!(replica.publish().verifies(&replica.sign(0)));
    }
}

async fn replicas_that_rotate_together_make_one_next_key(store: &Arc<dyn Store>) {
    let (a, b) =
        (Replica::start(store, config(timing()), (0, 0)).await, Replica::start(store, config(timing()), (0, 30)).await);
    let alg = oneclick_login::keys::SigningAlg::Es256;
    let mut won = 0;
    for round in 0..10_i64 {
        let now = round * 1_000;
        let (one, other) = tokio::join!(a.keys.rotate(alg, a.now(now)), b.keys.rotate(alg, b.now(now)));
        for rotation in [one, other] {
            match rotation {
                Ok(_) => won += 1,
                Err(KeysError::Pending { signs_from, .. }) => assert!(signs_from > a.now(now)),
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(won, round + 1);
    }
    let generations: Vec<_> = store.signing_keys().await.unwrap().iter().map(|row| row.generation).collect();
    assert_eq!(generations, (1..=11).collect::<Vec<_>>());
}
