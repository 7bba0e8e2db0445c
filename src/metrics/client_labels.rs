//! Which label an app has. Anybody may invent client ids and an enterprise may have a thousand apps; so the first few
//! keep a label for as long as the process runs, and the rest share one.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::ids::ClientId;

/// Apps with a label of their own. Each can show a series for every error code of a login.
pub const NAMED_APPS: usize = 8;

/// Clones share their labels.
#[derive(Debug, Clone)]
pub struct ClientLabels(Arc<Labels>);

#[derive(Debug)]
struct Labels {
    named: RwLock<HashMap<ClientId, Arc<str>>>,
    other: Arc<str>,
    unknown: Arc<str>,
}

impl Default for ClientLabels {
    fn default() -> Self {
        let (other, unknown) = (Arc::from("other"), Arc::from("unknown"));
        Self(Arc::new(Labels { named: RwLock::default(), other, unknown }))
    }
}

impl ClientLabels {
    /// The label of a registered app; `None` stands for all that is not one.
    pub fn label(&self, registered: Option<&ClientId>) -> Arc<str> {
        let Labels { named, other, unknown } = &*self.0;
        let Some(client_id) = registered else { return Arc::clone(unknown) };
        {
            let named = named.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(label) = named.get(client_id) {
                return Arc::clone(label);
            }
            if named.len() >= NAMED_APPS {
                return Arc::clone(other);
            }
        }
        let mut named = named.write().unwrap_or_else(PoisonError::into_inner);
        if named.len() >= NAMED_APPS && !named.contains_key(client_id) {
            return Arc::clone(other);
        }
        Arc::clone(named.entry(client_id.clone()).or_insert_with(|| client_id.as_str().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_apps_keep_their_label_and_the_rest_share_one() {
        let labels = ClientLabels::default();
        let id = |n: usize| ClientId::parse(format!("app-{n}")).unwrap();
        for _ in 0..2 {
            for n in 0..1_000 {
                let expected = if n < NAMED_APPS { format!("app-{n}") } else { "other".to_owned() };
                assert_eq!(*labels.label(Some(&id(n))), *expected);
            }
            assert_eq!(&*labels.label(None), "unknown");
        }
    }
}
