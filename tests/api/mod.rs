//! Every endpoint through the real router.

mod audit;
mod checks;
mod failures;
mod header_values;
mod id_token;
mod login;
mod lost_answer;
mod server_timing;
mod sessions;
pub mod tenant_token;
pub mod tenants;
mod well_known;
