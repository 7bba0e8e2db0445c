//! The language of an error message. Knows the two languages of the contract and nothing of HTTP.

use serde::Deserialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Locale {
    En,
    Zh,
}

impl Locale {
    /// Reads a language tag by its primary subtag: `zh`, `zh-CN` and `zh_TW` are Chinese, `en` and `en-US` English.
    /// Anything else is `None`, and the caller's default stands.
    pub fn from_tag(tag: &str) -> Option<Self> {
        let primary = tag.trim().split(['-', '_', ';', ',']).next()?.trim();
        if primary.eq_ignore_ascii_case("zh") {
            Some(Self::Zh)
        } else if primary.eq_ignore_ascii_case("en") {
            Some(Self::En)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_primary_subtag_decides() {
        for tag in ["zh", "zh-CN", "zh_TW", "ZH", "zh-Hans-CN", "zh-CN;q=0.8"] {
            assert_eq!(Locale::from_tag(tag), Some(Locale::Zh), "{tag}");
        }
        for tag in ["en", "en-US", "EN_gb"] {
            assert_eq!(Locale::from_tag(tag), Some(Locale::En), "{tag}");
        }
        for tag in ["", "fr", "zhx", "english", "-zh"] {
            assert_eq!(Locale::from_tag(tag), None, "{tag}");
        }
    }
}
