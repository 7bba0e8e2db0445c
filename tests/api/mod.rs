//! Every endpoint through the real router.

mod checks;
mod failures;
mod id_token;
mod login;
mod well_known;
