//! A mainland China mobile number in its one canonical form. Does not know where it came from or where it is kept.

use std::fmt;

/// A mobile number, E.164: `+86` and eleven digits that begin with 1. `Debug` and [`PhoneNumber::masked`] hide the
/// middle; only [`PhoneNumber::e164`] and [`PhoneNumber::mobile`] show it whole, for claims and for sealing.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PhoneNumber {
    national: [u8; 11],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a mainland China mobile number of 11 ASCII digits beginning with 1")]
pub struct InvalidPhoneNumber;

/// The regions whose numbers are written without a `+` beside mainland ones: code, and digits after it.
const NEIGHBOURS: [(&str, usize); 3] = [("852", 8), ("853", 8), ("886", 9)];

impl PhoneNumber {
    /// Takes exactly what Alibaba Cloud answers: 11 ASCII digits, the first a 1. Masked, full-width or prefixed forms
    /// are refused: a user must never be made from junk.
    pub fn from_national(digits: &str) -> Result<Self, InvalidPhoneNumber> {
        let national: [u8; 11] = digits.as_bytes().try_into().map_err(|_| InvalidPhoneNumber)?;
        if national[0] != b'1' || !national.iter().all(u8::is_ascii_digit) {
            return Err(InvalidPhoneNumber);
        }
        Ok(Self { national })
    }

    /// Takes what a person or an administrator's client writes: `13800000001`, `+8613800000001` or `+86-13800000001`.
    pub fn parse(text: &str) -> Result<Self, InvalidPhoneNumber> {
        let national = text.strip_prefix("+86").map_or(text, |rest| rest.strip_prefix('-').unwrap_or(rest));
        Self::from_national(national)
    }

    /// Whether this is a whole number, but none of a mainland phone: with the code of another country or region, or one
    /// of the 13 digits that the carriers give to devices. A masked or broken number is none.
    pub fn is_of_another_kind(text: &str) -> bool {
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if let Some(international) = text.strip_prefix('+').or_else(|| text.strip_prefix("00")) {
            let number = international.replacen('-', "", 1);
            let has_other_code = !number.starts_with('0') && !number.starts_with("86");
            return has_other_code && (8..=15).contains(&number.len()) && is_digits(&number);
        }
        let is_of_region = |(code, digits): (&str, usize)| {
            let rest = text.strip_prefix(code).map(|rest| rest.strip_prefix('-').unwrap_or(rest));
            rest.is_some_and(|rest| rest.len() == digits && is_digits(rest))
        };
        let is_of_device = text.len() == 13 && text.starts_with('1') && is_digits(text);
        is_of_device || NEIGHBOURS.into_iter().any(is_of_region)
    }

    fn national(&self) -> &str {
        std::str::from_utf8(&self.national).expect("a phone number is made of ASCII digits only")
    }

    /// `+8613800000001`: OpenID Connect's `phone_number`, and the form that is indexed and sealed.
    pub fn e164(&self) -> String {
        format!("+86{}", self.national())
    }

    /// `+86-13800000001`: the vendor's `mobile`.
    pub fn mobile(&self) -> String {
        format!("+86-{}", self.national())
    }

    /// `138****0001`: for people.
    pub fn masked(&self) -> String {
        let digits = self.national();
        format!("{}****{}", &digits[..3], &digits[7..])
    }
}

impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+86 {}", self.masked())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_has_one_form_whatever_prefix_it_was_written_with() {
        for text in ["13800000001", "+8613800000001", "+86-13800000001"] {
            let number = PhoneNumber::parse(text).unwrap();
            assert_eq!(number.e164(), "+8613800000001");
            assert_eq!(number.mobile(), "+86-13800000001");
            assert_eq!(number.masked(), "138****0001");
            assert_eq!(format!("{number:?}"), "+86 138****0001");
        }
    }

    #[test]
    fn a_number_of_another_kind_is_whole_and_not_of_the_mainland() {
        for other in [
            "+852-91234567",
            "+85291234567",
            "0085291234567",
            "852-91234567",
            "85366123456",
            "886912345678",
            "+14155550123",
            "1064812345678",
            "1440012345678",
        ] {
            assert!(PhoneNumber::is_of_another_kind(other), "{other}");
            assert!(PhoneNumber::from_national(other).is_err(), "{other}");
        }
        for none in [
            "",
            "+",
            "13900001234",
            "139****1234",
            "1390000123",
            "139000012345",
            "23900001234",
            "+8613900001234",
            "+86-13900001234",
            "008613900001234",
            "8613900001234",
            "+852-9123-4567",
            "+852****4567",
            "852****4567",
            "+1415555",
            "+1234567890123456",
            "+０852912345",
            "106481234567a",
            "8529123456",
        ] {
            assert!(!PhoneNumber::is_of_another_kind(none), "{none}");
        }
    }

    #[test]
    fn junk_is_never_a_number() {
        for junk in [
            "",
            "1",
            "139****1234",
            "1390000123",
            "139000012345",
            "23900001234",
            "+8613900001234",
            "１３９０００１２３４５",
            "1390000123a",
            " 13900001234",
            "13900001234 ",
            "1390000\u{0661}234",
        ] {
            assert_eq!(PhoneNumber::from_national(junk), Err(InvalidPhoneNumber), "{junk:?}");
        }
    }
}
