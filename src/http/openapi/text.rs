//! One text of the API's description in the two languages of the contract. Knows nothing of what it describes.

use crate::locale::Locale;

#[derive(Debug, Clone, Copy)]
pub struct Text {
    en: &'static str,
    zh: &'static str,
}

pub const fn text(en: &'static str, zh: &'static str) -> Text {
    Text { en, zh }
}

impl Text {
    pub const fn get(self, locale: Locale) -> &'static str {
        match locale {
            Locale::En => self.en,
            Locale::Zh => self.zh,
        }
    }
}
