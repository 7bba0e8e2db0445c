//! One-click login with the phone's own number.
//!
//! A mobile app obtains a single-use token from Alibaba Cloud's number-verification SDK. This server exchanges it for
//! the phone number, finds or registers the user, opens a session and answers with a session_token and a signed
//! id_token. The README says how to run it and what is on the wire; this page says where things are.
//!
//! # Floors
//!
//! Imports go down only. On one floor they may go sideways, but never round in a circle. A test (`tests/house`) reads
//! this table and the sources, so a new module needs a place here before it compiles into a green build.
//!
//! | floor | modules | what it knows |
//! |---|---|---|
//! | 4 composition | [`cli`], [`server`], [`app`], [`settings`], [`telemetry`] | everything, and decides nothing |
//! | 3 edge | [`http`] | HTTP in, HTTP out, in the contract's form |
//! | 2 use cases | [`login`], [`session`], [`tenant`], [`readiness`], [`housekeeping`] | procedures; no axum, no SQL, no JSON of the wire |
//! | 1 capabilities | [`verifier`], [`store`], [`commit_queue`], [`limits`], [`apps`], [`keys`], [`id_token`], [`vault`], [`audit`], [`metrics`] | each its own outside world, and its own error |
//! | 0 vocabulary | [`ids`], [`phone_number`], [`device`], [`session_token`], [`error_code`], [`over_limit`], [`locale`], [`clock`], [`deadline`], [`error_chain`], [`finding`], [`hex`], [`trace`], [`client_address`], [`refusal`] | plain types, no network, no database |
//!
//! Below floor 4 only [`http`] may name axum and utoipa; only [`store`] may name sqlx; only [`verifier`], `cli::healthcheck`,
//! `cli::doctor` and `telemetry::otel` may name reqwest, and only the last opentelemetry; only [`limits`] may name governor;
//! only [`metrics`] may name prometheus_client.
//!
//! # A login in eight steps
//!
//! 1. [`server::Server::run`] accepts the connection. [`http::router`] gives the request its id and its span, and its
//!    handler reads the request in the contract's order of checks: the device headers, then `X-client-id` against the
//!    snapshot in [`apps::Apps`], then the body, read by an extractor of our own.
//! 2. [`login::Login::begin`] counts it ([`limits::Limits::count_login`]). Then it joins an equal login that is under way, or
//!    takes a place in the commit queue ([`commit_queue::CommitQueue::admit`]). If the database takes no sessions, or too
//!    many logins wait, the answer is "busy" here, with the token unspent.
//! 3. It goes on in a task of its own: a client that goes away must not turn a spent token into nothing.
//! 4. [`verifier::PhoneNumberVerifier::verify`] turns the token into a [`phone_number::PhoneNumber`]: under its own
//!    deadline, at most once, and with no database connection held.
//! 5. [`vault::Vault::phone_index`] makes the blind index that finds the user; [`vault::Vault::seal_phone`] seals the
//!    number for a user who may have to be registered; [`session_token::SessionToken::generate`] draws the
//!    session_token, of which only the hash goes on.
//! 6. [`commit_queue::Ticket::commit`] hands the row in. All logins that wait are committed together by
//!    [`store::OpenSessions::open_sessions`], and each gets its own [`store::Outcome`]; a commit that fails is tried again
//!    until the login's [`deadline::Deadline`]. Nothing is answered 200 before its row
//!    is durable.
//! 7. [`id_token::IdTokens::issue`] signs the claims with the active key, kept in memory by [`keys::Keys`].
//! 8. The handler writes the contract's four keys. Whatever failed instead is a [`login::LoginError`]; one exhaustive
//!    match in [`http`] turns it into a row of [`error_code::ErrorCode`], and one layer into an answer. The cause goes
//!    to the log and never to the client.
//!
//! # Reading order
//!
//! [`http`] (the one route table and the one stack of layers), [`login`] and [`session`] (the procedures), [`verifier`] and [`store`]
//! (the two traits in front of the outside), [`commit_queue`], then [`app`] (how it is wired) and `cli::serve` (how
//! it starts and ends). Of the tests, `tests/api/login.rs` first.

pub mod app;
pub mod apps;
pub mod audit;
pub mod cli;
pub mod client_address;
pub mod clock;
pub mod commit_queue;
pub mod deadline;
pub mod device;
pub mod error_chain;
pub mod error_code;
pub mod finding;
pub mod hex;
pub mod housekeeping;
pub mod http;
pub mod id_token;
pub mod ids;
pub mod keys;
pub mod limits;
pub mod locale;
pub mod login;
pub mod metrics;
pub mod over_limit;
pub mod phone_number;
pub mod readiness;
pub mod refusal;
pub mod server;
pub mod session;
pub mod session_token;
pub mod settings;
pub mod store;
pub mod telemetry;
pub mod tenant;
pub mod trace;
pub mod vault;
pub mod verifier;
