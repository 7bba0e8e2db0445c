//! Wraps the stored data keys anew, under the first of the master keys. The data keys stay as they are, so nothing that
//! they sealed has to be touched, and running replicas do not notice.

use super::{MasterKeys, VaultError};
use crate::store::{DataKey, Store};

/// Passes over the keys; a second one is needed only if somebody else rewraps at the same time.
const PASSES: usize = 3;

/// What [`rewrap`] found and did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rewrapped {
    pub rewrapped: u32,
    /// Keys that the first master key had wrapped already.
    pub untouched: u32,
}

/// Rewraps each data key that is not wrapped by the first master key. Safe to repeat, and to interrupt.
pub async fn rewrap(master_keys: &MasterKeys, store: &dyn Store) -> Result<Rewrapped, VaultError> {
    let mut rewrapped = 0;
    for _ in 0..PASSES {
        let rewrapped_before = rewrapped;
        let (mut by_first, mut lost) = (0_u32, false);
        for row in store.data_keys().await? {
            let unwrapped = master_keys.unwrap(&row)?;
            if unwrapped.by_first {
                by_first += 1;
                continue;
            }
            let wrapped = master_keys.wrap(row.purpose, &unwrapped.key);
            match store.rewrap_data_key(row.id, &row.wrapped, &wrapped).await? {
                true => rewrapped += 1,
                false => lost = true,
            }
        }
        if !lost {
            return Ok(Rewrapped { rewrapped, untouched: by_first.saturating_sub(rewrapped_before) });
        }
    }
    Err(VaultError::Contended)
}

/// How many of the keys wait for [`rewrap`].
pub fn not_wrapped_by_first(master_keys: &MasterKeys, rows: &[DataKey]) -> Result<usize, VaultError> {
    let by_first =
        rows.iter().map(|row| Ok(master_keys.unwrap(row)?.by_first)).collect::<Result<Vec<_>, VaultError>>()?;
    Ok(by_first.into_iter().filter(|by_first| !by_first).count())
}
