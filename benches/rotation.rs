//! A hundred key rotations in real time, with all lifetimes shortened in proportion: two replicas on one database sign
//! without a pause, verifiers hold every JWK Set for as long as its `max-age` allows, and every signature is checked.
//!
//! `cargo bench --bench rotation [-- --max-age-ms N]` takes about 40 s. It ends with an error if one check fails. Under
//! `cargo test --benches` it makes only a few rotations, to show that it still runs.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints, and stops where it cannot go on")]

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use oneclick_login::clock::Clock;
use oneclick_login::keys::{Config, Keys, KeysError, SigningAlg, Timing};
use oneclick_login::store::Store;
use oneclick_login::store::sqlite::{self, SqliteStore};
use oneclick_login::vault::{MasterKey, MasterKeys, Vault};
use serde_json::Value;
use time::OffsetDateTime;

const VERIFIERS: usize = 2;

const A_MOMENT: Duration = Duration::from_millis(1);

/// Tokens that verifiers choose from; the signers replace them one after the other.
const SHOWN_TOKENS: usize = 64;

struct Replica {
    keys: Keys,
    clock: Clock,
    /// How far its clock is wrong, ahead or behind.
    ahead: Duration,
    behind: Duration,
}

impl Replica {
    fn now(&self) -> OffsetDateTime {
        self.clock.now() + self.ahead - self.behind
    }
}

struct Token {
    text: String,
    kid: String,
    expires: Instant,
}

/// What a verifier fetched, and when it asked.
struct Held {
    keys: HashMap<String, DecodingKey>,
    asked: Instant,
}

/// Shared by all threads.
struct Run {
    replicas: Vec<Replica>,
    timing: Timing,
    tokens: Mutex<Vec<Arc<Token>>>,
    ended: AtomicBool,
    signed: AtomicU64,
    verified: AtomicU64,
    failed: AtomicU64,
    /// Turns in which a replica was not ready, since its snapshot was too old.
    not_ready: AtomicU64,
}

impl Run {
    fn goes_on(&self) -> bool {
        !self.ended.load(Ordering::Relaxed)
    }

    fn wait_until_ready(&self) {
        self.not_ready.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(A_MOMENT);
    }

    /// Signs without a pause, as long as this replica is ready.
    fn sign(&self, replica: &Replica) {
        for turn in 0_usize.. {
            if !self.goes_on() {
                break;
            }
            let (now, asked) = (replica.now(), Instant::now());
            if replica.keys.is_stale() {
                self.wait_until_ready();
                continue;
            }
            let text = replica.keys.snapshot().signer(now).sign(br#"{"sub":"a user"}"#).unwrap();
            let kid = decode_header(&text).unwrap().kid.unwrap();
            let token = Arc::new(Token { text, kid, expires: asked + self.timing.longest_token_life });
            let mut tokens = self.tokens.lock().unwrap();
            if tokens.len() < SHOWN_TOKENS {
                tokens.push(token);
            } else {
                tokens[turn % SHOWN_TOKENS] = token;
            }
            drop(tokens);
            self.signed.fetch_add(1, Ordering::Relaxed);
            // Leaves the processor to the verifiers, whose work is dearer.
            std::thread::sleep(Duration::from_micros(500));
        }
    }

    /// Verifies living tokens by a set that is kept until its last moment.
    fn verify(&self, number: usize) {
        let mut rules = Validation::new(Algorithm::ES256);
        rules.required_spec_claims.clear();
        rules.validate_exp = false;
        let mut held: Option<Held> = None;
        for turn in number.. {
            if !self.goes_on() {
                break;
            }
            let token = self.tokens.lock().unwrap().get(turn % SHOWN_TOKENS).cloned();
            let Some(token) = token else {
                std::thread::sleep(A_MOMENT);
                continue;
            };
            let now = Instant::now();
            let set = match held.take() {
                Some(set) if now - set.asked <= self.timing.jwks_max_age => set,
                _ => match self.fetch(&self.replicas[turn % self.replicas.len()]) {
                    Some(set) => set,
                    None => continue,
                },
            };
            // At one moment the token lives and the set is fresh; what happens after it is of no matter.
            if now <= token.expires {
                let key = set.keys.get(&token.kid);
                let verifies = key.is_some_and(|key| decode::<Value>(&token.text, key, &rules).is_ok());
                self.verified.fetch_add(1, Ordering::Relaxed);
                self.failed.fetch_add(u64::from(!verifies), Ordering::Relaxed);
            }
            held = Some(set);
        }
    }

    fn fetch(&self, replica: &Replica) -> Option<Held> {
        let asked = Instant::now();
        if replica.keys.is_stale() {
            self.wait_until_ready();
            return None;
        }
        let set: JwkSet = serde_json::from_slice(&replica.keys.snapshot().jwks.json).unwrap();
        let key =
            |jwk: &jsonwebtoken::jwk::Jwk| (jwk.common.key_id.clone().unwrap(), DecodingKey::from_jwk(jwk).unwrap());
        Some(Held { keys: set.keys.iter().map(key).collect(), asked })
    }

    /// Rotates as often as is allowed, each time by the next replica. Returns how long the slowest one took.
    async fn rotate(&self, rotations: usize) -> Duration {
        let mut slowest = Duration::ZERO;
        for number in 0..rotations {
            let replica = &self.replicas[number % self.replicas.len()];
            loop {
                let began = Instant::now();
                match replica.keys.rotate(SigningAlg::Es256, replica.now()).await {
                    Ok(_) => {
                        slowest = slowest.max(began.elapsed());
                        break;
                    }
                    Err(KeysError::Pending { .. }) => tokio::time::sleep(A_MOMENT).await,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        tokio::time::sleep(self.timing.lead() + self.timing.afterlife()).await;
        self.ended.store(true, Ordering::Relaxed);
        slowest
    }

    async fn follow(&self, replica: &Replica) {
        while self.goes_on() {
            if let Err(error) = replica.keys.tend(replica.now()).await {
                println!("a replica cannot follow: {error}");
            }
            tokio::time::sleep(self.timing.refresh_interval).await;
        }
    }
}

/// Production's figures divided by what makes a max-age this long. The snapshot's age is a smaller part of it, so that
/// more is left for a commit, which cannot be shortened.
fn timing(max_age: Duration) -> Timing {
    Timing {
        jwks_max_age: max_age,
        longest_token_life: max_age,
        clock_leeway: max_age / 5,
        refresh_interval: max_age / 30,
        stale_after: max_age / 4,
    }
}

async fn replicas(store: &Arc<dyn Store>, timing: Timing) -> Vec<Replica> {
    let (clock, wrong) = (Clock::system(), timing.clock_leeway / 2);
    let master_keys = MasterKeys::from(MasterKey::generate());
    let mut replicas = Vec::new();
    for (ahead, behind) in [(wrong, Duration::ZERO), (Duration::ZERO, wrong)] {
        let vault = Arc::new(Vault::open(&master_keys, &**store, clock.now()).await.unwrap());
        let config = Config { signing_alg: SigningAlg::Es256, key_lifetime: None, timing };
        let keys = Keys::open(Arc::clone(store), vault, config, clock.now()).await.unwrap();
        replicas.push(Replica { keys, clock: clock.clone(), ahead, behind });
    }
    replicas
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let whole = arguments.iter().any(|argument| argument == "--bench");
    let max_age = arguments.iter().skip_while(|argument| *argument != "--max-age-ms").nth(1);
    let max_age = Duration::from_millis(max_age.map_or(200, |text| text.parse().unwrap()));
    let rotations = if whole { 100 } else { 5 };

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("keys.db").display());
    let store: Arc<dyn Store> = runtime.block_on(async {
        let config = sqlite::Config { statement_timeout: Duration::from_secs(10), ..sqlite::Config::new(url) };
        let store = SqliteStore::open(&config).await.unwrap();
        store.migrate().await.unwrap();
        Arc::new(store) as Arc<dyn Store>
    });
    let timing = timing(max_age);
    let run = Run {
        replicas: runtime.block_on(replicas(&store, timing)),
        timing,
        tokens: Mutex::default(),
        ended: AtomicBool::new(false),
        signed: AtomicU64::new(0),
        verified: AtomicU64::new(0),
        failed: AtomicU64::new(0),
        not_ready: AtomicU64::new(0),
    };
    let began = Instant::now();
    let slowest = std::thread::scope(|threads| {
        for replica in &run.replicas {
            threads.spawn(|| run.sign(replica));
        }
        for number in 0..VERIFIERS {
            let run = &run;
            threads.spawn(move || run.verify(number));
        }
        let followers = async { tokio::join!(run.follow(&run.replicas[0]), run.follow(&run.replicas[1])) };
        runtime.block_on(async { tokio::join!(run.rotate(rotations), followers).0 })
    });
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let failed = count(&run.failed);
    println!(
        "{rotations} rotations in {:.1} s (max-age {max_age:?}): {} tokens signed, {} verifications, {failed} failed; \
         slowest rotation {slowest:?}, {} turns not ready",
        began.elapsed().as_secs_f64(),
        count(&run.signed),
        count(&run.verified),
        count(&run.not_ready),
    );
    if slowest > timing.slack() {
        println!(
            "a rotation must take less than {:?}: on a machine this busy, choose a longer max-age",
            timing.slack()
        );
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
