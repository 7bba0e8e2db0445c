//! `migrate`.

use std::io::Write;

use super::{CliError, say};
use crate::settings::Settings;

pub async fn run(settings: &Settings, out: &mut dyn Write) -> Result<(), CliError> {
    let store = crate::app::open_store(settings).await?;
    store.migrate().await?;
    store.close().await;
    say(out, format_args!("the {} schema is up to date", store.kind()))
}
