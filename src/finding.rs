//! What a look at a deployment found: that something is as it should be, or that it is not and what to do about it, in
//! words for an operator. It must not know who looks, nor at what.

use std::fmt;

use serde::Serialize;

use crate::error_chain::one_line;

/// One thing that was looked at. No field may hold a secret, a number or a token: findings are printed and logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, in a word or two that do not change.
    pub check: &'static str,
    pub verdict: Verdict,
    pub message: String,
    /// What to do: the statement to run, or the setting to change.
    pub advice: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Ok,
    /// It could not be looked at, or there is nothing to look at.
    Skip,
    /// It works, and somebody should look at it.
    Warn,
    /// It does not work, or loses data.
    Fail,
}

impl Verdict {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skip => "skip",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
        }
    }
}

impl Finding {
    pub fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, message: message.into(), advice: None }
    }

    pub fn skip(check: &'static str, message: impl Into<String>) -> Self {
        Self { verdict: Verdict::Skip, ..Self::ok(check, message) }
    }

    pub fn warn(check: &'static str, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warn, ..Self::fail(check, message, advice) }
    }

    pub fn fail(check: &'static str, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Fail, message: message.into(), advice: Some(advice.into()) }
    }

    /// Whether somebody has something to do.
    pub const fn is_trouble(&self) -> bool {
        matches!(self.verdict, Verdict::Warn | Verdict::Fail)
    }
}

/// The message and the advice, on one line whatever they quote.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&one_line(&self.message))?;
        self.advice.as_ref().map_or(Ok(()), |advice| write!(f, "; {}", one_line(advice)))
    }
}
