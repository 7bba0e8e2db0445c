//! Shows an error with all its causes on one line, for logs and operators. Never part of an answer.

use std::error::Error;
use std::fmt;

/// `outer: inner: innermost`; a cause that the error before it has said already is not said again.
#[derive(Debug)]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !said.ends_with(&text) {
                said.push_str(": ");
                said.push_str(&text);
            }
            cause = error.source();
        }
        f.write_str(&said)
    }
}

/// Text from outside that must not break out of its line, nor reach a terminal as a control sequence.
pub fn one_line(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn every_cause_is_said_once() {
        #[derive(Debug, thiserror::Error)]
        enum Outer {
            #[error("cannot connect")]
            Short(#[source] io::Error),
            #[error("cannot connect: {0}")]
            Long(#[source] io::Error),
        }
        let refused = || io::Error::other("refused");
        assert_eq!(Chain(&Outer::Short(refused())).to_string(), "cannot connect: refused");
        assert_eq!(Chain(&Outer::Long(refused())).to_string(), "cannot connect: refused");
    }

    #[test]
    fn text_from_outside_stays_on_its_line() {
        assert_eq!(one_line("a\nb\u{1b}[31m é"), "a\\nb\\u{1b}[31m é");
    }
}
