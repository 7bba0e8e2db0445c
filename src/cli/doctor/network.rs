//! Why a call did not get through, from the words of the HTTP client: its errors have no kinds that tell more.

/// What to do about a call that failed on its way. `chain` is the error with its causes.
pub fn remedy(chain: &str) -> &'static str {
    let says = |words: &[&str]| words.iter().any(|word| chain.contains(word));
    if is_untrusted(chain) {
        "see that the certificate is valid and for this host, and that this machine has the CA certificates"
    } else if says(&["dns error", "failed to lookup"]) {
        "the host's name has no address from here: mend the name, or the DNS"
    } else if says(&["tunnel", "proxy"]) {
        "look at the proxy: does it run, and may it connect to that host?"
    } else if says(&["Connection refused"]) {
        "nothing listens there: mend host and port, or start it"
    } else if says(&["timed out", "deadline has elapsed", "not complete within"]) {
        "look for a firewall or security group that drops packets, or a route that is missing"
    } else {
        "look at the network to that host, and at what stands in between"
    }
}

/// Whether somebody answered whose certificate is not believed.
pub fn is_untrusted(chain: &str) -> bool {
    chain.contains("invalid peer certificate")
}
