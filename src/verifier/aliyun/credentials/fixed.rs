//! Credentials that stay what they are until the server ends.

use std::sync::Arc;

use super::{Credentials, CredentialsSource, NoCredentials};

#[derive(Debug)]
pub struct StaticCredentials(Arc<Credentials>);

impl StaticCredentials {
    pub fn new(credentials: Credentials) -> Self {
        Self(Arc::new(credentials))
    }
}

impl CredentialsSource for StaticCredentials {
    fn current(&self) -> Result<Arc<Credentials>, NoCredentials> {
        Ok(Arc::clone(&self.0))
    }
}
