//! One suite for both stores, and what only one of them can do or suffer.
//!
//! A test of the suite is a function over a [`Backend`]; [`run_suite`] lists them all and makes them tests of one. A
//! function that is missing from the list is never used, which the compiler reports.

mod fixture;
mod postgres;
mod sqlite;

mod apps;
mod batches;
mod erasure;
mod health;
mod keys;
mod newer;
mod purge;
mod registration;
mod repetition;
mod replay;
mod revoking;
mod rotation;
mod schema;
mod sessions;
mod status;
mod tenants;
mod tickets;
mod verifier_budget;

use std::sync::Arc;

use async_trait::async_trait;
use oneclick_login::store::Store;

/// A kind of store.
trait Backend {
    /// A store on a database of its own, with the schema.
    async fn migrated() -> Subject;

    /// The same without a schema.
    async fn empty() -> Subject;
}

/// A store under test, and a way past it.
struct Subject {
    store: Arc<dyn Store>,
    sql: Box<dyn Sql>,
}

/// The database behind a store, for what its trait does not show. The SQL is such as both stores understand.
#[async_trait]
trait Sql: Send + Sync {
    /// The one number that a query gives.
    async fn count(&self, query: &'static str) -> i64;

    async fn execute(&self, statement: &'static str);

    /// Every row of every table as text, with bytes as lower-case hexadecimal digits.
    async fn dump(&self) -> String;
}

macro_rules! run_suite {
    ($backend:ty) => {
        $crate::store::run_suite! { $backend;
            registration {
                an_unknown_number_is_registered_once_and_found_ever_after,
                the_profile_of_the_user_comes_back_with_the_session,
                an_unknown_number_is_not_found_where_registration_is_off_and_leaves_no_row,
                hundreds_of_concurrent_first_logins_of_one_number_make_one_user,
                concurrent_first_logins_of_many_numbers_in_any_order_make_each_user_once,
            }
            repetition {
                the_same_row_again_gives_the_same_outcome_and_no_second_session,
                the_same_row_twice_in_one_batch_is_one_session_with_two_equal_outcomes,
                a_repetition_that_overlaps_the_first_try_settles_on_the_same_outcome,
                a_repetition_of_a_batch_of_which_a_part_was_committed_completes_it,
            }
            replay {
                an_access_token_opens_one_session_only,
                an_access_token_opens_one_session_only_within_one_batch,
                an_access_token_opens_one_session_only_among_concurrent_batches,
                logins_without_a_replay_key_may_be_repeated,
                a_replayed_token_of_an_unknown_user_says_that_the_user_is_not_found,
                a_replayed_token_of_a_disabled_user_says_that_the_user_is_disabled,
                concurrent_batches_with_the_same_tokens_in_any_order_never_block_each_other_for_good,
            }
            status {
                a_disabled_user_is_refused_and_gets_no_session,
                a_repetition_after_the_disabling_is_refused,
                disabling_ends_every_session_and_enabling_revives_none,
                a_status_that_is_there_already_changes_nothing,
                a_status_of_nobody_is_not_set,
                a_login_racing_with_the_disabling_leaves_no_live_session,
            }
            batches {
                an_empty_batch_has_no_outcomes,
                a_mixed_batch_keeps_its_order,
                a_full_batch_is_opened_whole,
                a_session_is_stored_as_it_was_handed_in,
            }
            sessions {
                a_session_is_found_by_id_by_token_and_by_access_token_as_it_was_opened,
                a_session_that_is_not_there_is_not_found,
                a_session_past_its_time_or_of_a_disabled_user_is_found_and_says_so,
                the_first_use_of_a_session_stands,
                ending_the_sessions_of_a_user_leaves_the_user_active_and_later_logins_alive,
            }
            newer {
                newer_sessions_are_counted_up_to_the_limit,
                of_sessions_opened_at_the_same_moment_the_id_says_which_is_newer,
                sessions_that_are_dead_or_another_users_do_not_count,
            }
            rotation {
                a_rotated_session_is_found_by_its_token_by_the_one_before_and_by_its_family,
                only_the_current_token_of_an_unrevoked_session_is_rotated,
                a_successor_that_is_another_sessions_token_is_refused,
                of_many_concurrent_rotations_of_one_token_exactly_one_gives_the_successor,
                opening_a_rotated_session_again_opens_no_second_one,
                sealed_answers_go_at_the_first_use_or_when_nobody_may_ask_for_them,
            }
            revoking {
                revoking_is_idempotent_and_the_first_time_stands,
                the_live_sessions_of_an_app_are_revoked_batch_by_batch,
                concurrent_revocations_of_an_app_share_the_work_and_leave_none,
                the_unexpired_sessions_of_a_user_are_listed_newest_first,
                no_more_than_a_hundred_sessions_are_listed,
            }
            tickets {
                a_ticket_works_once,
                of_many_concurrent_uses_of_a_ticket_exactly_one_gets_the_session,
                a_ticket_dies_at_its_time,
                another_device_neither_gets_the_session_nor_uses_the_ticket_up,
                a_ticket_for_one_tenant_is_neither_found_nor_used_up_by_another,
            }
            tenants {
                a_tenant_is_found_by_each_of_its_tokens_until_their_time,
                a_tenants_tokens_do_not_work_while_it_is_disabled,
                a_new_secret_ends_the_tokens_of_the_old_one,
                an_app_that_is_no_tenant_any_more_has_no_tokens,
                a_token_of_an_app_that_is_not_there_or_has_no_secret_is_nobodys,
            }
            verifier_budget {
                a_days_calls_are_granted_up_to_its_limit_and_the_last_ones_in_part,
                who_asks_for_more_than_the_limit_gets_the_limit,
                every_day_has_its_own_budget,
                a_limit_that_changes_counts_from_the_next_reservation_on,
                of_many_concurrent_reservations_no_call_is_granted_twice,
            }
            purge {
                a_session_is_kept_until_it_expires,
                a_session_is_kept_for_two_hours_even_if_it_expires_sooner,
                as_long_as_a_dead_session_is_kept_its_access_token_opens_no_other,
                tickets_and_tenant_tokens_are_kept_while_they_work,
                a_purge_takes_so_many_rows_of_each_kind_and_says_how_many,
                replicas_that_purge_at_once_share_the_work,
            }
            erasure {
                an_erased_user_leaves_no_trace_in_any_table,
                erasing_one_user_leaves_the_others_alone,
                the_number_of_an_erased_user_registers_afresh,
                an_erased_user_and_its_sessions_are_absent_everywhere,
                nobody_cannot_be_erased,
                a_disabled_user_can_be_erased,
                erasing_is_not_a_status_to_be_set,
                the_access_tokens_of_an_erased_user_open_no_other_session,
                of_concurrent_erasings_one_finds_the_user,
            }
            apps {
                an_app_is_added_once_and_registered_again_with_other_words,
                registering_again_leaves_enabled_as_it_is,
                an_app_that_is_not_there_cannot_be_enabled,
                apps_are_listed_by_client_id_byte_by_byte,
                an_app_is_found_by_its_client_id,
                a_secret_stays_until_another_one_is_registered,
            }
            keys {
                concurrent_starts_agree_on_one_data_key_for_each_purpose,
                a_missing_purpose_is_added_and_the_others_stay,
                reading_data_keys_makes_none,
                of_replicas_that_rotate_together_one_stores_its_key,
                signing_keys_come_back_as_they_were_stored_in_the_order_of_their_generation,
                a_signing_key_is_removed_once,
                a_data_key_is_rewrapped_only_from_the_wrapping_that_was_read,
            }
            schema {
                an_empty_database_is_refused_and_the_error_names_the_command,
                migrating_twice_changes_nothing,
                concurrent_migrations_wait_for_each_other,
                the_schema_of_a_newer_program_is_accepted,
                a_migration_that_ended_half_way_is_refused,
            }
            health {
                the_databases_clock_is_near_ours,
                a_write_can_be_probed_again_and_again,
                a_closed_store_refuses_every_call,
            }
        }
    };
    ($backend:ty; $($file:ident { $($test:ident,)+ })+) => {
        $(mod $file {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                $crate::store::$file::$test::<$backend>().await;
            })+
        })+
    };
}
use run_suite;
